"""Streams of the hop engine from many threads: each sounds as it does alone; queues, refusals, failures."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamtra.acoustic.causal_hift import CausalHiFT, CausalHiFTConfig
from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hop_batch import HopBatch
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.errors import MamTraError
from mamtra.synthesis.hop_engine import HopEngine, hops_fit
from mamtra.synthesis.hop_turns import NOT_FINITE
from mamtra.voices.info import VoiceInfo
from mamtra.voices.voice import Voice
from tests.acoustic.test_flow_stream import FLOW
from tests.acoustic.test_vocoder_stream import VOCODER

SIZES = HopSizes(chunk=25, ratio=2, lookahead=3, mel=80, steps=2, branches=1, window=50, ring=2)
"""Those of CosyVoice 2."""


def engine(streams: int = 2, pages: int = 4, **options) -> HopEngine:
    sizes = HopSizes.of(FLOW, history=10, steps=1)
    return HopEngine(HopBatch(FLOW, VOCODER, sizes, streams=streams, pages=pages), **options)


def voice(count: int, embedding: float | None = None) -> Voice:
    draw = torch.Generator().manual_seed(count)
    made = torch.randn(8, generator=draw) if embedding is None else torch.full((8,), embedding)
    prompt = torch.randint(0, 50, (count,), generator=draw), torch.randn(2 * count, 80, generator=draw)
    return Voice(VoiceInfo(name=f"{count}"), torch.zeros(0, dtype=torch.int64), *prompt, made)


def spoken(hops: HopEngine, who: Voice, tokens: list[int], seed: int = 0, pieces: bool = True) -> np.ndarray:
    stream, made, left = hops.open(who, seed), [], tokens
    while pieces and (size := stream.wanted) < len(left):
        made.append(stream.push(left[:size]))
        left = left[size:]
    return np.concatenate([*made, stream.push(left, final=True)])


def tokens_of(count: int) -> list[int]:
    return [7 * i % 50 for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 23])
def test_any_length(count):
    hops = engine()
    made = spoken(hops, voice(7), tokens_of(count))
    assert made.shape == (count * 960,) and made.dtype == np.float32
    assert np.array_equal(made, spoken(hops, voice(7), tokens_of(count), pieces=False))


def test_a_prompt_that_would_fill_the_first_hop_begins_later():
    hops, long = engine(), voice(17)
    late = replace(long, prompt_speech=long.prompt_speech[4:], prompt_mel=long.prompt_mel[8:])
    assert hops.open(long, 0).wanted == hops.open(late, 0).wanted == 5
    assert np.array_equal(spoken(hops, long, tokens_of(23)), spoken(engine(), late, tokens_of(23)))


@given(st.integers(0, 1000))
def test_what_hops_leave_out_of_a_prompt(prompt):
    sizes = SIZES
    cut = sizes.unread(prompt)
    rest = prompt - cut - sizes.chunk * sizes.prefix_chunks(prompt - cut)
    assert 0 <= cut <= prompt / 4 and (cut < sizes.chunk)
    assert rest <= 10 or (cut == 0 and prompt < 68)
    assert sizes.prefix_chunks(prompt - cut) == sizes.prefix_chunks(prompt)


def test_threads_hear_what_each_would_alone():
    jobs = [(voice((0, 7, 12)[i % 3]), tokens_of(5 + 3 * i), i) for i in range(7)]
    alone = [spoken(engine(1), *job) for job in jobs]
    hops, found = engine(3, largest=2), [None] * len(jobs)

    def work(i: int) -> None:
        found[i] = spoken(hops, *jobs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, wanted in zip(found, alone, strict=True):
        assert mine.shape == wanted.shape and np.abs(mine - wanted).max() < 5e-3


def test_more_streams_than_places():
    hops = engine(1, most_waiting=2)
    first, second = hops.open(voice(7), 0), hops.open(voice(7), 0)
    with pytest.raises(MamTraError, match="1 streams are speaking and 2 wait"):
        hops.open(voice(7), 0)
    assert len(first.push(tokens_of(12), final=True))
    assert len(second.push(tokens_of(12), final=True))


def test_a_place_is_free_when_its_client_goes():
    hops = engine(1)
    gone = hops.open(voice(7), 0)
    gone.push(tokens_of(12))
    gone.close()
    assert len(spoken(hops, voice(12), tokens_of(9)))


def test_voices_take_turns_in_the_memory_of_prompts():
    hops = engine(2, pages=2)
    made = [spoken(hops, voice(count), tokens_of(9)) for count in (13, 12, 8, 13)]
    assert np.array_equal(made[0], made[3])
    with pytest.raises(MamTraError, match="room for 10"):
        hops.open(voice(18), 0)


def test_one_stream_fails_alone():
    hops = engine(2)
    good, bad = hops.open(voice(7), 0), hops.open(voice(7, float("nan")), 0)
    assert good.push(tokens_of(8)) is not None
    with pytest.raises(MamTraError, match=NOT_FINITE[:20]):
        bad.push(tokens_of(20))
    assert len(good.push(tokens_of(8), final=True))
    assert np.isfinite(spoken(hops, voice(7), tokens_of(9))).all()


def test_a_closed_engine():
    hops = engine()
    stream = hops.open(voice(7), 0)
    hops.close()
    with pytest.raises(MamTraError, match="closed"):
        stream.push(tokens_of(12))
    with pytest.raises(MamTraError, match="closed"):
        hops.open(voice(7), 0)


def test_the_least_slack_goes_first():
    hops = engine(2, largest=1)
    first, second = hops.open(voice(7), 0), hops.open(voice(7), 1)
    first.push(tokens_of(13))
    first._began -= 0.5
    second._began = first._began + 0.1
    assert first.slack(first._began, 24000) > second.slack(first._began + 0.2, 24000)


def test_networks_that_a_gpu_takes():
    wide = Flow(FLOW.config.model_copy(update={"estimator_head_dim": 16}))
    assert hops_fit(wide, VOCODER)
    assert not hops_fit(FLOW, VOCODER)  # heads of 8
    assert not hops_fit(wide, CausalHiFT(CausalHiFTConfig(base_channels=8, f0_channels=8)))
