"""CosyVoice 3's flow and vocoder give what the original code gave, with the same names of weights."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mamtra.acoustic.causal_hift import CausalHiFT
from mamtra.acoustic.dit import rotary_frequencies
from mamtra.acoustic.dit_flow import DiTFlow
from mamtra.acoustic.fixed_noise import fixed_uniform
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.audio.features import mel_24k, slaney_filterbank
from tests.parity.cosyvoice3 import (
    FLOW,
    FOLDER,
    FREQUENCIES,
    HOPS,
    MELS,
    NOISE_AT,
    VOCODER,
    estimator_inputs,
    flow_inputs,
    mel_input,
    uniform_noise,
    vocoder_weights,
)
from tests.parity.fixture import Output, difference, seeded
from tests.rerun import Rerun

PATH = FOLDER / "vectors.safetensors"
ORIGINAL_LOOKAHEAD = 8


@pytest.fixture(scope="module")
def vectors():
    stored = {name: value.numpy() for name, value in load_file(PATH).items()}

    def check(name: str, value: torch.Tensor, tolerance: float) -> None:
        problem = difference(Output(name, value, tolerance), stored)
        assert not problem, problem

    return check


@pytest.fixture(scope="module")
def flow() -> DiTFlow:
    return seeded(DiTFlow(FLOW), "flow")


@pytest.fixture(scope="module")
def vocoder() -> CausalHiFT:
    made = seeded(CausalHiFT(VOCODER), "vocoder")
    made.load_state_dict(vocoder_weights(made.state_dict()))
    return made.remove_weight_norm()


def names(part: str) -> list[str]:
    with safe_open(PATH, "numpy") as file:
        return file.metadata()[part].splitlines()


@pytest.mark.parametrize(("part", "kind", "config"), [("flow", DiTFlow, FLOW), ("vocoder", CausalHiFT, VOCODER)])
def test_names_and_shapes(part, kind, config):
    ours = [f"{name} {list(value.shape)}" for name, value in sorted(kind(config).state_dict().items())]
    assert ours == [line for line in names(part) if not line.startswith(FREQUENCIES)]


def test_frequencies_are_those_that_the_release_stores():
    stored = load_file(PATH)["frequencies"]
    assert torch.allclose(rotary_frequencies(2 * len(stored)), stored, rtol=1e-6)


@pytest.mark.parametrize("name", MELS)
def test_mel(flow, vectors, name):
    streaming, finalize = MELS[name]
    vectors(f"mel/{name}", flow.inference(*flow_inputs(), streaming=streaming, finalize=finalize), 2e-5)


@pytest.mark.parametrize("captured", [False, True])
def test_streamed_mel(flow, vectors, captured):
    if captured:
        flow = seeded(DiTFlow(FLOW), "flow")
        flow.use_graphs(Rerun())
    token, *voice = flow_inputs()
    stream = FlowStream(flow, *voice)
    pieces = [stream.push(piece) for piece in token.split(3, dim=1)] + [stream.push(token[:, :0], final=True)]
    assert sum(piece.shape[2] > 0 for piece in pieces) > 3
    vectors("mel/stream", torch.cat(pieces, dim=2), 2e-5)


@torch.no_grad()
def test_estimator_of_padded_rows(flow, vectors):
    for name, chunk in (("full", 0), ("chunks", 2 * FLOW.chunk_size)):
        vectors(f"estimator/{name}", flow.decoder.estimator(*estimator_inputs(), chunk), 1e-5)


def test_vocoder(vocoder, vectors):
    mel = mel_input()
    with torch.no_grad():
        f0 = vocoder.predict_f0(mel)
        vectors("f0", f0, 1e-4)
        assert (f0 > 10).any() and (f0 < 10).any()
    made = vocoder.synthesize(mel, noise=uniform_noise(mel.shape[2] * VOCODER.hop))
    # The original adds up phases in float32 without dropping whole cycles.
    vectors("source", made.source, 2e-4)
    vectors("wave", made.wave, 2e-4)


def test_streamed_samples(vocoder, vectors):
    mel, done = mel_input(), 0
    noise, drawn = uniform_noise(mel.shape[2] * VOCODER.hop), [0]

    def following(count: int) -> torch.Tensor:
        drawn[0] += count
        return noise[:, drawn[0] - count : drawn[0]]

    stream = VocoderStream(vocoder, following, ORIGINAL_LOOKAHEAD)
    for i, frames in enumerate((*HOPS, mel.shape[2])):
        vectors(f"hop{i}", stream.push(mel[:, :, done:frames], final=i == len(HOPS)), 2e-4)
        done = frames


def test_fixed_noise():
    stored = load_file(PATH)["noise"]
    assert torch.equal(fixed_uniform(max(NOISE_AT) + 1)[list(NOISE_AT)], stored)


def test_published_sizes():
    from mamtra.acoustic.causal_hift import CausalHiFTConfig
    from mamtra.acoustic.dit_flow import DiTFlowConfig

    with torch.device("meta"):
        flow, vocoder = DiTFlow(DiTFlowConfig()), CausalHiFT(CausalHiFTConfig())
    assert (vocoder.config.hop, vocoder.receptive_field()[1]) == (480, 5)
    assert flow.decoder.estimator.transformer_blocks[21].attn_norm.linear.weight.shape == (6144, 1024)


def test_filters_up_to_12_khz_are_those_of_librosa():
    theirs = pytest.importorskip("transformers.audio_utils").mel_filter_bank(
        961, 80, 0.0, 12000.0, 24000, norm="slaney", mel_scale="slaney"
    )
    ours = slaney_filterbank(24000, 1920, 80, 12000.0, torch.device("cpu"))
    assert torch.allclose(ours, torch.from_numpy(theirs.T).float(), atol=1e-8)
    wave = torch.sin(2 * torch.pi * 11000 / 24000 * torch.arange(24000.0))[None]
    heard, lost = mel_24k(wave, 12000.0)[0, -5:, 25], mel_24k(wave)[0, -5:, 25]
    assert heard.max() > 0 and lost.max() < -6
