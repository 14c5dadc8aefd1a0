"""The layers of flow and vocoder in fewer kernels: the numbers of the plain ones."""

import pytest
import torch

from mamtra.acoustic.fused_estimator import FusedEstimator
from mamtra.acoustic.fused_hift import FusedHiFT
from tests.acoustic.test_flow_stream import build, voice
from tests.acoustic.test_vocoder_stream import VOCODER


@pytest.mark.parametrize("lengths", [None, [30, 21]])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_pass_of_the_flow(lengths, streaming):
    flow, token = build(), torch.arange(60).view(2, 30) % 50
    options = {"streaming": streaming, "steps": 2, "token_len": None if lengths is None else torch.tensor(lengths)}
    wanted = flow.inference(token, *voice(8, 2), **options)
    flow.decoder.run_by(FusedEstimator(flow.decoder.estimator))
    mel = flow.inference(token, *voice(8, 2), **options)
    for row, count in enumerate(lengths or [30, 30]):
        torch.testing.assert_close(mel[row, :, : 2 * count], wanted[row, :, : 2 * count], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lengths", [[70, 70], [70, 41]])
@torch.inference_mode()
def test_a_pass_of_the_vocoder(lengths):
    mel = torch.randn(2, 80, 70, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor(lengths)
    mel = mel * (torch.arange(70) < ends[:, None])[:, None]
    source = VOCODER.source(VOCODER.predict_f0(mel, ends), torch.zeros(2, 70 * 480, 1))
    wanted = VOCODER.decode(mel, source, None if lengths[0] == lengths[1] else ends)
    made = FusedHiFT(VOCODER).decode(mel, source[:, 0], torch.zeros(2, dtype=torch.int64), ends)
    assert (made - wanted).abs().max() < 1e-4 * wanted.abs().max()
