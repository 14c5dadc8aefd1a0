"""The flow by chunks: the same mel as in one pass, with every chunk computed once, and rows of different lengths."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mamtra.acoustic.dit_flow import DiTFlow
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_matching import fixed_noise
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.history import Span
from mamtra.acoustic.token_encoder import RelativeAttention, align_distances
from tests.parity.cosyvoice3 import FLOW as DIT_SIZES
from tests.parity.fixture import seeded
from tests.rerun import Rerun

SMALL = FlowConfig(
    input_size=16,
    vocab_size=50,
    spk_embed_dim=8,
    encoder_heads=2,
    encoder_ffn=32,
    encoder_blocks=2,
    encoder_up_blocks=2,
    estimator_channels=16,
    estimator_heads=2,
    estimator_head_dim=8,
    estimator_n_blocks=2,
    estimator_mid_blocks=1,
    chunk_size=5,
)


def build(config: FlowConfig = SMALL) -> Flow:
    torch.manual_seed(0)
    return Flow(config).eval()


def voice(tokens: int, batch: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)
    return (
        torch.randint(0, 50, (batch, tokens), generator=generator),
        torch.randn(batch, 2 * tokens, 80, generator=generator),
        torch.randn(batch, 8, generator=generator),
    )


FLOW, DIT = build(), seeded(DiTFlow(DIT_SIZES), "flow")
GRAPHED = [copy.deepcopy(flow) for flow in (FLOW, DIT)]
for graphed in GRAPHED:
    graphed.use_graphs(Rerun())
BOTH = pytest.mark.parametrize("flow", [FLOW, DIT], ids=["U-Net", "DiT"])


@pytest.mark.parametrize("flow", [FLOW, DIT, *GRAPHED], ids=["U-Net", "DiT", "U-Net by graphs", "DiT by graphs"])
@settings(max_examples=15)
@given(prompt=st.integers(0, 13), sizes=st.lists(st.integers(0, 17), min_size=1, max_size=6), batch=st.integers(1, 2))
def test_pieces_are_the_whole(flow, prompt, sizes, batch):
    count = max(1, sum(sizes))
    token = torch.randint(0, 50, (batch, count), generator=torch.Generator().manual_seed(count))
    whole = flow.inference(token, *voice(prompt, batch), streaming=True, steps=2)
    stream, pieces, begin = FlowStream(flow, *voice(prompt, batch), steps=2), [], 0
    for size in sizes[:-1]:
        pieces.append(stream.push(token[:, begin : begin + size]))
        begin += size
        assert sum(piece.shape[2] for piece in pieces) == 2 * max(0, stream.offset - prompt)
    pieces.append(stream.push(token[:, begin:], final=True))
    mel = torch.cat(pieces, dim=2)
    assert mel.shape == whole.shape
    assert (mel - whole).abs().max() < 1e-4


@pytest.mark.parametrize("recorded", [False, True])
def test_original_mel(golden, recorded, agree):
    """The original's chunk-masked passes, computed chunk by chunk, with a growing cache and with a static one."""
    passes = [(vectors, flow, final) for vectors, flow, streaming, final in golden.mels() if streaming]
    assert {final for *_, final in passes} == {False, True}
    for vectors, flow, final in passes:
        if recorded:
            flow.use_graphs(Rerun())
        stream = FlowStream(flow, *(vectors[name] for name in ("prompt_token", "prompt_feat", "embedding")))
        pieces = [stream.push(piece) for piece in vectors["token"].split(7, dim=1)]
        if final:
            pieces.append(stream.push(vectors["token"][:, :0], final=True))
        mel = torch.cat(pieces, dim=2)
        assert mel.shape[2] == vectors["mel"].shape[2] if final else 0 < mel.shape[2] <= vectors["mel"].shape[2]
        agree("mel", mel, vectors["mel"][:, :, : mel.shape[2]], 2e-5)


def test_a_fork_leaves_its_origin_alone():
    first = FlowStream(FLOW, *voice(8), steps=2)
    assert first.push(torch.zeros(1, 0, dtype=torch.int64)).shape == (1, 80, 0) and first.offset == 5
    token = torch.arange(20)[None]
    mels = []
    for other in (token, 49 - token, token):
        stream = first.fork()
        mels.append(torch.cat([stream.push(other[:, :11]), stream.push(other[:, 11:], final=True)], dim=2))
    assert torch.equal(mels[0], mels[2]) and not torch.allclose(mels[0], mels[1])
    assert first.offset == 5
    assert (mels[0] - FLOW.inference(token, *voice(8), streaming=True, steps=2)).abs().max() < 1e-4


def test_rows_in_lockstep():
    token = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(1))
    whole = FLOW.inference(token, *voice(4, 3), streaming=True, steps=2)
    stream = FlowStream(FLOW, *voice(4, 3), steps=2)
    mel = torch.cat([stream.push(token[:, :9]), stream.push(token[:, 9:], final=True)], dim=2)
    assert (mel - whole).abs().max() < 1e-4


def test_wanted_completes_a_chunk():
    stream = FlowStream(FLOW, *voice(8), steps=1)
    assert stream.wanted(1) == stream.wanted(2) == 2 + 3 and stream.wanted(3) == 7 + 3
    stream.push(torch.zeros(1, 0, dtype=torch.int64))
    assert stream.wanted(2) == 2 + 3 and stream.wanted(3) == 7 + 3
    assert stream.push(torch.zeros(1, 4, dtype=torch.int64)).shape[2] == 0
    assert stream.push(torch.zeros(1, 1, dtype=torch.int64)).shape[2] == 4
    assert stream.wanted(5) == 5 and stream.wanted(6) == 10


def test_every_position_is_computed_once():
    """Work of a stream is linear in its length up to attention; from scratch it is repeated for each hop."""
    token = torch.zeros(1, 103, dtype=torch.int64)
    prompt = voice(10)
    with FlopCounterMode(display=False) as kept:
        stream = FlowStream(FLOW, *prompt, steps=2)
        for begin in range(0, 103, 5):
            stream.push(token[:, begin : begin + 5], final=begin >= 98)
    with FlopCounterMode(display=False) as whole:
        FLOW.inference(token, *prompt, steps=2, streaming=True)
    with FlopCounterMode(display=False) as scratch:
        for end in range(8, 103, 5):
            FLOW.inference(token[:, :end], *prompt, steps=2, streaming=True, finalize=False)
        FLOW.inference(token, *prompt, steps=2, streaming=True)
    assert kept.get_total_flops() < 1.1 * whole.get_total_flops()
    assert scratch.get_total_flops() > 8 * kept.get_total_flops()


@BOTH
@settings(max_examples=12)
@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 14)), min_size=2, max_size=4), chunked=st.booleans())
def test_a_batch_is_its_rows(flow, rows, chunked):
    voices = [voice(prompt) for prompt, _ in rows]
    tokens = [torch.randint(0, 50, (n,), generator=torch.Generator().manual_seed(n)) for _, n in rows]
    longest = max(prompt for prompt, _ in rows)
    mel = flow.inference(
        torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
        torch.cat([torch.nn.functional.pad(v[0], (0, longest - v[0].shape[1]), value=7) for v in voices]),
        torch.cat([torch.nn.functional.pad(v[1], (0, 0, 0, 2 * (longest - v[0].shape[1])), value=3.0) for v in voices]),
        torch.cat([v[2] for v in voices]),
        steps=2,
        streaming=chunked,
        token_len=torch.tensor([n for _, n in rows]),
        prompt_len=torch.tensor([prompt for prompt, _ in rows]),
    )
    assert mel.shape == (len(rows), 80, 2 * max(n for _, n in rows))
    for row, (token, alone) in enumerate(zip(tokens, voices, strict=True)):
        found = mel[row : row + 1, :, : 2 * len(token)]
        assert (found - flow.inference(token[None], *alone, steps=2, streaming=chunked)).abs().max() < 1e-4


def test_masks_and_distances_with_an_offset():
    mask = Span(2).visible(4, 2, torch.device("cpu"))
    assert mask.int().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [1] * 6, [1] * 6]
    assert Span(2).visible(2, 4, torch.device("cpu")) is None
    for queries, keys in ((1, 4), (2, 5), (3, 3)):
        scores = torch.randn(2, queries, keys + queries - 1)
        query, key = torch.arange(queries)[:, None], torch.arange(keys)
        index = (queries - 1 - query + key).expand(2, queries, keys)
        assert torch.equal(align_distances(scores)[..., :keys], scores.gather(2, index))


def test_noise_that_is_too_short_is_named():
    assert fixed_noise(80).shape[2] == 15000
    stream = FlowStream(FLOW, *voice(4), steps=1, noise=torch.randn(1, 80, 12))
    with pytest.raises(Exception, match="shorter pieces"):
        stream.push(torch.zeros(1, 20, dtype=torch.int64), final=True)


@BOTH
def test_bfloat16_weights(flow):
    """All of it runs in the type of the weights, in one pass and by pieces; the Euler steps stay float32."""
    half, token = copy.deepcopy(flow).to(torch.bfloat16), torch.arange(20)[None]
    wanted = flow.inference(token, *voice(8), streaming=True, steps=2)
    mel = half.inference(token, *voice(8), streaming=True, steps=2)
    stream = FlowStream(half, *voice(8), steps=2)
    pieces = torch.cat([stream.push(token[:, :12]), stream.push(token[:, 12:], final=True)], dim=2)
    for found in (mel, pieces):
        assert found.dtype == torch.float32
        assert 0 < (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_scores_of_other_devices_start_where_memory_does(monkeypatch):
    """Kernels for attention refuse a bias that starts in the middle of its memory."""
    seen = []

    def attend(q, k, v, attn_mask, **_):
        seen.append((attn_mask.is_contiguous(), attn_mask.storage_offset()))
        return q

    monkeypatch.setattr("mamtra.acoustic.token_encoder.F.scaled_dot_product_attention", attend)
    layer = RelativeAttention(16, 2, 0.0).to("meta")
    layer(torch.empty(1, 16, 16, device="meta"), [torch.empty(31, 16, device="meta")], None)
    assert seen == [(True, 0)]
