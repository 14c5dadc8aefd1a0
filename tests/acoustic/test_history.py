"""Bounded history: hops of any length give the mel of one pass in which a loop says who sees whom; memory stays bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.acoustic.dit_flow import DiTFlow
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.history import Span
from mamtra.acoustic.masks import additive
from mamtra.acoustic.stream_cache import LayerCache
from mamtra.errors import MamTraError
from tests.acoustic.test_flow_stream import SMALL, build, voice
from tests.parity.cosyvoice3 import FLOW as SMALL_DIT
from tests.parity.fixture import seeded
from tests.rerun import Rerun


def graphed(flow: CausalFlow) -> CausalFlow:
    flow.use_graphs(Rerun())
    return flow


def dit() -> CausalFlow:
    return seeded(DiTFlow(SMALL_DIT), "flow")


FLOWS = {"unet": build(), "unet, graphs": graphed(build()), "dit": dit(), "dit, graphs": graphed(dit())}
CHUNK, LOOK = SMALL.chunk_size, SMALL.pre_lookahead_len
assert (SMALL_DIT.chunk_size, SMALL_DIT.pre_lookahead_len) == (CHUNK, LOOK)
WORK = {"unet": "unet", "unet, graphs": "unet", "dit": "dit", "dit, graphs": "dit"}


class OnePass(LayerCache):
    """The cache of a pass over everything: nothing came before, and who sees whom is written out; lengths in tokens."""

    def __init__(self, window: int, prefix: int) -> None:
        self.span, self.slot = Span(CHUNK), 0
        self._window, self._prefix = window, prefix

    def prepend(self, layer, x, count):
        return torch.nn.functional.pad(x, (0, 0, count, 0))

    def append(self, layer, name, x):
        return x

    def visible(self, size, chunk, offset, device):
        rate, seen = chunk // CHUNK, torch.zeros(size, size, dtype=torch.bool)
        for query in range(size):
            begin = query // chunk * chunk
            for key in range(size):
                in_window = begin - self._window * rate <= key < begin + chunk
                seen[query, key] = in_window or key < min(self._prefix * rate, begin)
        return seen

    def score_mask(self, size, chunk, offset, like):
        return additive(self.visible(size, chunk, offset, like.device), like.dtype)

    def positions(self, size, offset, device):
        return torch.arange(size, dtype=torch.float32)


@torch.inference_mode()
def naive(flow: CausalFlow, token, prompt, history: int, sinks: int, steps: int) -> torch.Tensor:
    """The mel of one pass."""
    tokens, feat, embedding = prompt
    chunks = max(0, tokens.shape[1] - LOOK) // CHUNK
    cache = OnePass(history // 2, chunks * CHUNK + sinks // 2)
    mu = flow.encode(flow.input_embedding(torch.cat([tokens, token], dim=1)), None, None, CHUNK, cache)
    cond = torch.zeros_like(mu)
    cond[:, :, : feat.shape[1]] = feat.transpose(1, 2)
    mel = flow.decoder.sample(mu, None, flow.speaker(embedding), cond, steps=steps, chunk=2 * CHUNK, cache=cache)
    return mel[:, :, feat.shape[1] :]


def in_hops(stream: FlowStream, token, sizes) -> torch.Tensor:
    made = [stream.push(piece, final=i == len(sizes) - 1) for i, piece in enumerate(token.split(sizes, dim=1))]
    return torch.cat(made, dim=2)


def tokens_of(sizes, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, 50, (batch, sum(sizes)), generator=torch.Generator().manual_seed(sum(sizes)))


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(FLOWS)),
    prompt=st.integers(0, 23),
    sizes=st.lists(st.integers(0, 23), min_size=1, max_size=6),
    history=st.sampled_from([10, 14, 20, 26]),
    sinks=st.sampled_from([0, 0, 4, 10]),
    batch=st.integers(1, 2),
)
def test_hops_are_the_naive_pass(name, prompt, sizes, history, sinks, batch):
    if prompt + sum(sizes) == 0:
        sizes = [*sizes, 1]
    given_voice, token = voice(prompt, batch), tokens_of(sizes, batch)
    wanted = naive(FLOWS[WORK[name]], token, given_voice, history, sinks, 2)
    first = FlowStream(FLOWS[name], *given_voice, steps=2, history=history, sinks=sinks)
    first.push(token[:, :0])
    for _ in range(2):  # a fork leaves its origin alone
        mel = in_hops(first.fork(), token, sizes)
        assert mel.shape == wanted.shape == (batch, 80, 2 * sum(sizes))
        assert not mel.numel() or (mel - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_what_lies_before_the_window_does_not_count(name):
    """A window that holds everything gives the unbounded mel, to the bit; a smaller one another where it cuts."""
    sizes = [13, 9, 20, 4]
    token = tokens_of(sizes)
    mels = [
        in_hops(FlowStream(FLOWS[name], *voice(8), steps=2, history=history), token, sizes) for history in (0, 200, 20)
    ]
    assert torch.equal(mels[0], mels[1])
    same = 2 * (5 + 10 + 5 - 8)  # the prompt's chunk, the window and the chunk behind it
    assert torch.allclose(mels[0][:, :, :same], mels[2][:, :, :same], atol=1e-5)
    assert (mels[0] - mels[2])[:, :, same : same + 10].abs().max() > 1e-4


def test_one_token_and_none():
    for count in (0, 1):
        stream = FlowStream(FLOWS["unet"], *voice(8), steps=2, history=10)
        assert stream.push(torch.zeros(1, count, dtype=torch.int64), final=True).shape == (1, 80, 2 * count)


@pytest.mark.parametrize("name", sorted(FLOWS))
@pytest.mark.parametrize("sinks", [0, 10])
def test_memory_is_the_window_and_the_prompt_is_counted_once(name, sinks):
    first = FlowStream(FLOWS[name], *voice(18), steps=2, history=20, sinks=sinks)
    first.push(torch.zeros(1, 0, dtype=torch.int64))
    assert first.private_bytes == first.bytes > 0
    stream, held = first.fork(), []
    assert (stream.bytes, stream.private_bytes) == (first.bytes, 0)
    for _ in range(8):
        stream.push(torch.zeros(1, 5, dtype=torch.int64))
        held.append((stream.bytes, stream.private_bytes))
    assert held[0] < held[3] == held[-1]
    shared = held[-1][0] - held[-1][1]
    assert 0 < shared < first.bytes  # the convolutions' inputs were replaced
    unbounded = FlowStream(FLOWS[name], *voice(18), steps=2)
    unbounded.push(torch.zeros(1, 80, dtype=torch.int64))
    assert unbounded.bytes > 1.5 * stream.bytes


def test_no_hop_works_more_than_those_before():
    work = {}
    for history in (0, 20):
        stream = FlowStream(FLOWS["unet"], *voice(8), steps=2, history=history)
        stream.push(torch.zeros(1, LOOK, dtype=torch.int64))
        work[history] = []
        for _ in range(8):
            with FlopCounterMode(display=False) as counter:
                stream.push(torch.zeros(1, CHUNK, dtype=torch.int64))
            work[history].append(counter.get_total_flops())
    assert len(set(work[20][3:])) == 1 and max(work[20]) == work[20][-1] < work[0][-1]


def test_other_streams_do_not_disturb():
    """Streams join and leave between the hops of others, with windows of their own."""
    flow = FLOWS["unet, graphs"]
    sizes, token = [13, 9, 20, 4], tokens_of([13, 9, 20, 4])
    wanted = [naive(FLOWS["unet"], token, voice(prompt), history, 0, 2) for prompt, history in ((8, 10), (23, 20))]
    late = FlowStream(flow, *voice(23), steps=2, history=20)
    early = FlowStream(flow, *voice(8), steps=2, history=10)
    pieces = token.split(sizes, dim=1)
    made = [[early.push(pieces[0]), early.push(pieces[1])], []]
    for i in range(4):
        made[1].append(late.push(pieces[i], final=i == 3))
        if i < 2:
            made[0].append(early.push(pieces[i + 2], final=i == 1))
    for found, mel in zip(made, wanted, strict=True):
        assert (torch.cat(found, dim=2) - mel).abs().max() < 1e-4


@pytest.mark.parametrize(("history", "sinks"), [(-2, 0), (8, 0), (11, 0), (20, -2), (20, 3)])
def test_what_is_no_history_is_said(history, sinks):
    with pytest.raises(MamTraError, match="multiple of 2"):
        FlowStream(FLOWS["unet"], *voice(8), history=history, sinks=sinks)


def test_runs_and_what_is_visible():
    span = Span(2, window=2, prefix=2)
    assert span.runs(4, 2) == [range(6)] and span.runs(4, 4) == [range(8)]
    assert span.runs(4, 6) == [range(2), range(4, 10)] and Span(2, 2).runs(2, 6) == [range(4, 8)]
    assert span.visible(2, 6, torch.device("cpu")) is None
    assert (
        span.visible(4, 6, torch.device("cpu")).int().tolist() == [[1] * 6 + [0, 0]] * 2 + [[1, 1, 0, 0] + [1] * 4] * 2
    )
    assert Span(4).at(2) == Span(2) and Span(5, 10, 15).at(10) == Span(10, 20, 30)


def test_blocks_are_cut_to_what_is_kept():
    blocks = [torch.arange(i, i + 5)[None] for i in (0, 5, 10, 15)]
    kept = Span(5, window=7, prefix=8).keep(blocks, 1)
    assert torch.cat(kept, dim=1).tolist() == [[*range(8), *range(13, 20)]]
    assert kept[0] is blocks[0] and kept[-1] is blocks[3] and len(kept) == 4
    assert Span(5).keep(blocks, 1) == tuple(blocks) and Span(5, window=20).keep(blocks, 1) == tuple(blocks)
