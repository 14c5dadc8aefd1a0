"""Cases of the acoustic models: flow matching, in one pass and by chunks, and the vocoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_matching import cosine_schedule, fixed_noise
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.masks import valid_positions
from tests.parity.fixture import Output, integers, normal, seeded
from tests.rerun import Rerun

SMALL = FlowConfig(
    input_size=32,
    encoder_heads=4,
    encoder_ffn=48,
    encoder_blocks=2,
    estimator_channels=32,
    estimator_heads=2,
    estimator_head_dim=16,
    estimator_n_blocks=1,
    estimator_mid_blocks=1,
)
MELS = {  # streaming, finalize, chunk size
    "full": (False, True, 25),
    "stream_finalize": (True, True, 25),
    "stream_lookahead": (True, False, 25),
    "stream_chunk5_lookahead": (True, False, 5),
    "nostream_lookahead": (False, False, 25),
}


def build(chunk: int = 25) -> Flow:
    return seeded(Flow(SMALL.model_copy(update={"chunk_size": chunk})), "flow")


@torch.no_grad()
def flow(_: Path) -> Iterator[Output]:
    token, prompt = integers("token", 6561, 1, 37), integers("prompt", 6561, 1, 20)
    voice = (prompt, normal("prompt mel", 1, 40, 80), normal("speaker", 1, 192))
    for name, (streaming, finalize, chunk) in MELS.items():
        yield Output(f"mel/{name}", build(chunk).inference(token, *voice, streaming=streaming, finalize=finalize), 2e-5)
    for captured in (False, True):
        model = build()
        if captured:
            model.use_graphs(Rerun())
        stream = FlowStream(model, *voice)
        pieces = [stream.push(piece) for piece in token.split(7, dim=1)]
        pieces.append(stream.push(token[:, :0], final=True))
        yield Output("mel/stream_finalize", torch.cat(pieces, dim=2), 2e-5)
    yield from inside(build(), torch.cat([prompt, token], dim=1), voice[2])
    yield from padded(build())
    yield Output("schedule", cosine_schedule(torch.linspace(0, 1, 11)), 1e-6)
    yield Output("noise", fixed_noise(80)[:, :, ::16], 1e-5)


def inside(model: Flow, tokens: torch.Tensor, embedding: torch.Tensor) -> Iterator[Output]:
    """The steps of one pass."""
    hidden = model.encoder(model.input_embedding(tokens))
    speaker, mu = model.speaker(embedding), model.encoder_proj(hidden)
    yield Output("speaker", speaker, 1e-6)
    yield Output("encoder", hidden, 1e-5)
    yield Output("mu", mu, 1e-5)
    x, mu = normal("x", 2, 80, mu.shape[1]), mu.transpose(1, 2).repeat(2, 1, 1)
    speakers, cond = speaker.repeat(2, 1), normal("cond", *x.shape)
    yield Output("estimator", model.decoder.estimator(x, None, mu, torch.tensor([0.1, 0.6]), speakers, cond), 1e-5)


def padded(model: Flow) -> Iterator[Output]:
    """Rows of different lengths in one batch; only valid positions count."""
    lengths = torch.tensor([21, 13])
    valid = valid_positions(2 * lengths, 42)
    embedded = model.input_embedding(integers("rows", 6561, 2, 21)) * valid_positions(lengths, 21)[:, :, None]
    inputs = (normal("rows mu", 2, 80, 42), torch.tensor([0.3, 0.3]), normal("rows speaker", 2, 80))
    for chunk in (0, 25):
        hidden = model.encoder(embedded, lengths, chunk=chunk, clean_padding=False)
        yield Output(f"padded encoder/{chunk}", hidden * valid[:, :, None], 1e-5)
    for chunk in (0, 16):
        x, cond = normal("rows x", 2, 80, 42), normal("rows cond", 2, 80, 42)
        out = model.decoder.estimator(x, valid, *inputs, cond, chunk)
        yield Output(f"padded estimator/{chunk}", out, 1e-5)


@torch.no_grad()
def vocoder(_: Path) -> Iterator[Output]:
    model = seeded(HiFT(HiFTConfig(base_channels=32, f0_channels=16)), "vocoder")
    model.f0_predictor.classifier.bias += 180  # voiced, about 180 Hz
    model.conv_post.parametrizations.weight.original0 *= 0.3  # not clipped
    model.conv_post.bias[:9] -= 3
    mel, noise = normal("mel", 1, 80, 30) - 4, normal("noise", 1, 30 * 480, 9)
    silent, cache = torch.zeros_like(noise), 0.1 * normal("source", 1, 1, 3840)
    f0 = model.predict_f0(mel)
    source = model.source(f0, noise)
    yield Output("f0", f0, 1e-3)
    yield Output("source", source, 5e-4)
    yield Output("source without noise", model.source(f0, silent), 5e-4)
    wave, joined = model.synthesize(mel, source_cache=cache, noise=silent)
    yield Output("cached wave", wave, 5e-4)
    yield Output("cached source", joined, 5e-4)
    fixed = 0.1 * normal("fixed source", 1, 1, 30 * 480)
    yield Output("wave of a source", model.decode(mel, fixed), 5e-5)
    model.conv_post.bias[:9] += 5
    yield Output("clipped wave", model.decode(mel, fixed), 1e-4)
    model.conv_post.bias[:9] -= 5
    yield Output("wave", model.inference(mel, noise=noise), 5e-4)
    model.remove_weight_norm()
    yield Output("wave", model.inference(mel, noise=noise), 5e-4)
