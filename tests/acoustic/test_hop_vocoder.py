"""The vocoder hop by hop, streams of all lengths side by side: the sound of each alone in one pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.acoustic.causal_hift import CausalHiFT, CausalHiFTConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.hop_vocoder import NOISE, HopVocoder, noise_on
from mamtra.acoustic.receptive_field import stage_fields
from mamtra.errors import MamTraError
from tests.acoustic.test_source_filter import VOCODER as FRAMEWISE
from tests.acoustic.test_vocoder_stream import VOCODER

FRAMES, HOP = 10, 480


def test_later_stages_need_less():
    assert stage_fields(HiFTConfig()) == [15, 4, 2]
    assert HiFT(HiFTConfig(base_channels=8, f0_channels=8)).receptive_field() == (15, 20)


def sound(vocoder, streams: list[tuple[int, int, int]], seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Streams of (first hop, silent frames of it, frames), hop by hop and alone."""
    hops, draw = HopVocoder(vocoder, FRAMES), torch.Generator().manual_seed(seed)
    mels = [torch.randn(80, count, generator=draw) for _, _, count in streams]
    starts = [NOISE - 1000 + 77 * row for row in range(len(streams))]
    state, made = torch.zeros(len(streams), hops.state), [[] for _ in streams]
    last = max(first + (skip + count) // FRAMES for first, skip, count in streams) + 5
    for now in range(last):
        mel, begins, ends, noise = torch.randn(len(streams), 80, FRAMES, generator=draw), [], [], []
        for row, (first, skip, count) in enumerate(streams):
            # Frames of the window are counted from the stream's first hop.
            origin = (now - first + 1) * FRAMES - hops.size
            begins.append(skip - origin)
            ends.append(skip + count - origin)
            noise.append(starts[row] + (hops.before + origin - skip) * HOP)
            if now == first:
                state[row] = 0
            block = torch.cat([torch.randn(80, skip, generator=draw), mels[row]], dim=1)
            piece = block[:, (now - first) * FRAMES : (now - first + 1) * FRAMES] if now >= first else block[:, :0]
            mel[row, :, : piece.shape[1]] = piece
        wave, state = hops(mel, state, *map(torch.tensor, (begins, ends, noise)))
        for row, (first, skip, count) in enumerate(streams):
            begin = ((now - first + 1) * FRAMES - hops.size + hops.before - skip) * HOP
            if now >= first:
                made[row].append(wave[row, max(0, -begin) : max(0, min(FRAMES * HOP, count * HOP - begin))])
    table = noise_on(torch.device("cpu"))
    alone = []
    for row, mel in enumerate(mels):
        noise = table[(starts[row] + torch.arange(mel.shape[1] * HOP)) % NOISE]
        alone.append(vocoder.inference(mel[None], noise=noise[None, :, None])[0])
    return [torch.cat(pieces) for pieces in made], alone


@pytest.mark.parametrize("vocoder", [VOCODER, FRAMEWISE], ids=["CosyVoice 2", "at frame rate"])
@settings(max_examples=8)
@given(
    streams=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 14), st.integers(2, 60)), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@torch.inference_mode()
def test_hops_are_one_pass(vocoder, streams, seed):
    found, wanted = sound(vocoder, streams, seed)
    for mine, alone in zip(found, wanted, strict=True):
        assert mine.shape == alone.shape
        assert (mine - alone).abs().max() < 2e-3 * alone.abs().max().clamp(min=0.1)


def test_other_vocoders_are_refused():
    with pytest.raises(MamTraError, match="CosyVoice 2"):
        HopVocoder(CausalHiFT(CausalHiFTConfig(base_channels=8, f0_channels=8)), FRAMES)
