"""Flow and vocoder through captured graphs: the same mel and samples, and few graphs for many hops."""

from __future__ import annotations

import pytest
import torch

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.history import Span
from mamtra.acoustic.static_cache import buffer_mask
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.runtime.cuda_graphs import GraphCache
from tests.acoustic.test_flow_stream import build, voice
from tests.rerun import RefusingGraphs, Rerun

STEPS = 4
PLAIN = build()


def small_vocoder() -> HiFT:
    torch.manual_seed(0)
    return HiFT(HiFTConfig(base_channels=16, f0_channels=8)).remove_weight_norm().eval()


def graphed(dtype: torch.dtype = torch.float32) -> tuple[Flow, Rerun]:
    """A flow on stand-ins for graphs, and their cache."""
    flow, graphs = build().to(dtype), Rerun()
    flow.use_graphs(graphs)
    return flow, graphs


def spoken(flow: Flow, sizes: tuple[int, ...], prompt: int = 8, batch: int = 1) -> torch.Tensor:
    token = torch.arange(sum(sizes) * batch).view(batch, -1) % 50
    stream = FlowStream(flow, *voice(prompt, batch), steps=STEPS)
    made = [stream.push(piece, final=i == len(sizes) - 1) for i, piece in enumerate(token.split(sizes, dim=1))]
    return torch.cat(made, dim=2)


def test_one_pass_is_captured_once():
    flow, graphs = graphed()
    token, lengths = torch.arange(60).view(2, 30) % 50, torch.tensor([30, 21])
    wanted = PLAIN.inference(token, *voice(8, 2), token_len=lengths, steps=STEPS)
    for _ in range(2):
        mel = flow.inference(token, *voice(8, 2), token_len=lengths, steps=STEPS)
        assert torch.equal(mel[1, :, :42], wanted[1, :, :42]) and torch.equal(mel[0], wanted[0])
    assert (graphs.captured, graphs.replayed) == (1, 2 * STEPS - 1)
    flow.inference(token, *voice(8, 2), steps=STEPS)
    assert graphs.captured == 2


def test_one_graph_for_all_hops_of_a_shape():
    flow, graphs = graphed()
    sizes = (13, *[5] * 4, 2)  # with the prompt 30 frames, 10 each, and 16 that are computed as 20
    wanted = spoken(PLAIN, sizes)
    assert (spoken(flow, sizes) - wanted).abs().max() < 1e-4
    assert graphs.captured == 3
    assert (spoken(flow, sizes, 18) - spoken(PLAIN, sizes, 18)).abs().max() < 1e-4
    replayed = graphs.replayed
    spoken(flow, sizes, 18)
    assert graphs.captured == 4  # that of the longer prompt
    assert graphs.replayed - replayed == STEPS * 6


def test_a_buffer_that_is_too_small_grows():
    flow, graphs = graphed()
    sizes = (*[20] * 10, 73)
    wanted = spoken(PLAIN, sizes)
    for _ in range(2):
        assert (spoken(flow, sizes) - wanted).abs().max() < 2e-4
    estimator = flow.decoder._graphed
    assert len(estimator._memory) == estimator._plan.rows * 2 * 1024 * estimator._plan.width  # 562 frames
    assert graphs.count > 3
    captured = graphs.captured
    spoken(flow, sizes)
    assert graphs.captured == captured


def test_forks_share_the_cache():
    flow, _ = graphed()
    first, token = FlowStream(flow, *voice(8), steps=STEPS), torch.arange(20)[None]
    first.push(torch.zeros(1, 0, dtype=torch.int64))
    held, mels = first.bytes, []
    for other in (token, 49 - token, token):
        stream = first.fork()
        pieces = [stream.push(other[:, :11]), stream.push(other[:, 11:], final=True)]
        mels.append(torch.cat(pieces, dim=2))
    assert torch.equal(mels[0], mels[2]) and not torch.allclose(mels[0], mels[1])
    assert first.bytes == held
    assert (mels[0] - PLAIN.inference(token, *voice(8), streaming=True, steps=STEPS)).abs().max() < 1e-4


def test_streams_take_turns():
    """Two streams share one buffer, hop by hop."""
    flow, _ = graphed()
    voices, token = [voice(8), voice(3)], torch.arange(23)[None]
    streams = [FlowStream(flow, *own, steps=STEPS) for own in voices]
    mels = [[], []]
    for begin, end in ((0, 10), (10, 16), (16, 23)):
        for stream, made in zip(streams, mels, strict=True):
            made.append(stream.push(token[:, begin:end], final=end == 23))
    for made, own in zip(mels, voices, strict=True):
        wanted = PLAIN.inference(token, *own, streaming=True, steps=STEPS)
        assert (torch.cat(made, dim=2) - wanted).abs().max() < 1e-4


def test_a_damaged_stream_does_not_spoil_the_next():
    flow, _ = graphed()
    wanted = spoken(PLAIN, (13, 20, 9))
    broken = list(voice(8))
    broken[2] = broken[2] * float("nan")
    assert FlowStream(flow, *broken, steps=STEPS).push(torch.arange(90)[None] % 50).isnan().all()
    for _ in range(2):
        assert (spoken(flow, (13, 20, 9)) - wanted).abs().max() < 1e-4


def test_a_stream_continues_eagerly_after_a_failed_capture():
    flow = build()
    flow.use_graphs(Rerun(backend=RefusingGraphs))
    with pytest.warns(UserWarning, match="not permitted"):
        mel = spoken(flow, (13, 20, 9))
    assert (mel - spoken(PLAIN, (13, 20, 9))).abs().max() < 1e-4


def test_bfloat16():
    flow, _ = graphed(torch.bfloat16)
    wanted = spoken(PLAIN, (13, 20, 9))
    for _ in range(2):
        assert 0 < (spoken(flow, (13, 20, 9)) - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_memory_is_that_of_the_frames():
    flow, _ = graphed()
    streams = [FlowStream(network, *voice(10), steps=STEPS) for network in (flow, PLAIN)]
    for stream in streams:
        stream.push(torch.zeros(1, 23, dtype=torch.int64))
    assert streams[0].bytes == streams[1].bytes


def test_what_a_buffer_hides():
    mask = buffer_mask(3, 4, 2, 9, Span(2), torch.zeros(1))
    assert mask.isneginf().int().tolist() == [
        [0, 0, 1, 1, 0, 0, 1, 1, 1],
        [0, 0, 1, 1, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 0, 0, 1, 1, 1],
    ]
    assert (mask[~mask.isneginf()] == 0).all()


def test_the_vocoder_in_pieces():
    vocoder, plain, graphs = small_vocoder(), small_vocoder(), Rerun()
    vocoder.use_graphs(graphs)
    mel = torch.randn(1, 80, 250, generator=torch.Generator().manual_seed(1))

    def sound(network: HiFT) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        stream = VocoderStream(network, lambda count: torch.randn(1, count, 1, generator=generator))
        pieces = mel.split(50, dim=2)
        return torch.cat([stream.push(piece, final=i == 4) for i, piece in enumerate(pieces)], dim=1)

    for _ in range(2):
        assert torch.equal(sound(vocoder), sound(plain))
    # F0 and samples of the first hop and of those after it.
    assert graphs.captured == graphs.eager == 4
    lengths = torch.tensor([200])
    for _ in range(2):
        found = vocoder.inference(mel, noise=torch.zeros(1, 250 * 480, 1), lengths=lengths)
        assert torch.equal(found, plain.inference(mel, noise=torch.zeros(1, 250 * 480, 1), lengths=lengths))


def test_names_of_weights_and_training_stay():
    flow, vocoder = build(), small_vocoder()
    flow.use_graphs(GraphCache("cpu"))
    vocoder.use_graphs(GraphCache("cpu"))
    assert flow.state_dict().keys() == PLAIN.state_dict().keys()
    assert vocoder.state_dict().keys() == small_vocoder().state_dict().keys()
    wave, _ = vocoder(torch.randn(1, 80, 10), torch.zeros(1, 4800, 1))
    wave.sum().backward()
    assert vocoder.conv_pre.weight.grad.abs().sum() > 0


def test_on_a_cpu_nothing_is_captured():
    flow = build()
    plain = spoken(flow, (13, 20, 9))
    graphs = GraphCache("cpu")
    flow.use_graphs(graphs)
    assert (spoken(flow, (13, 20, 9)) - plain).abs().max() < 1e-4
    assert graphs.count == 0


@pytest.mark.gpu
def test_graphs_give_the_same_mel_and_sound(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    flow, vocoder, sizes = build().cuda(), small_vocoder().cuda(), (13, 9, 20, 3)
    token = torch.arange(sum(sizes), device="cuda")[None]

    def made() -> list[torch.Tensor]:
        prompt = [value.cuda() for value in voice(8)]
        stream = FlowStream(flow, *prompt, steps=STEPS)
        pieces = token.split(sizes, dim=1)
        mels = [stream.push(piece, final=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        mel = flow.inference(token, *prompt, steps=STEPS)
        wave = vocoder.inference(mel, noise=torch.zeros(1, mel.shape[2] * 480, 1, device="cuda"))
        return [torch.cat(mels, dim=2), mel, wave]

    wanted = made()
    caches = [GraphCache("cuda"), GraphCache("cuda")]
    flow.use_graphs(caches[0])
    vocoder.use_graphs(caches[1])
    for _ in range(4):
        for found, aim in zip(made(), wanted, strict=True):
            torch.testing.assert_close(found, aim, atol=1e-4, rtol=1e-3)
    assert all(graphs.count and not graphs.failure for graphs in caches)
