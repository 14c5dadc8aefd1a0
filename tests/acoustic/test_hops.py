"""Hops of many streams with joins and leaves: each stream sounds as it does alone, by the flow and vocoder of one stream."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hop_batch import HopBatch
from mamtra.acoustic.hop_rows import HopRow, HopVoice
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.hop_vocoder import NOISE, noise_on
from mamtra.acoustic.pitch_range import PitchRange
from mamtra.errors import MamTraError
from tests.acoustic.test_flow_stream import FLOW, voice
from tests.acoustic.test_vocoder_stream import VOCODER

STEPS, CHUNK = 2, 5


def batch(history: int, guidance: float | None = None, streams: int = 3) -> HopBatch:
    sizes = HopSizes.of(FLOW, history=history, steps=STEPS, guidance=guidance)
    return HopBatch(FLOW, VOCODER, sizes, streams=streams, pages=12, guidance=guidance)


def prompt(hops: HopBatch, count: int) -> HopVoice:
    tokens, mel, embedding = voice(count)
    given = tokens[0].tolist(), mel[0], embedding[0], lambda hop: hops([hop])
    return HopVoice.make(hops.flow, hops.pool, *given, pitch_range(count))


def pitch_range(count: int) -> PitchRange:
    """Of the voice with a prompt of so many tokens."""
    return PitchRange(40.0 + count, 1 + count / 10)


def alone(hops: HopBatch, row: HopRow, count: int, tokens: list[int], history: int, guidance: float | None):
    """Samples of a stream in one pass of the flow with a mask, and one of the vocoder."""
    stream = FlowStream(FLOW, *voice(count), steps=STEPS, guidance=guidance, history=history)
    mel = stream.push(torch.tensor([tokens]), final=True)
    table = noise_on(torch.device("cpu"))
    noise = table[(row.noise + torch.arange(mel.shape[2] * 480)) % NOISE]
    return VOCODER.inference(mel, noise=noise[None, :, None], pitch_range=pitch_range(count))[0]


STREAM = st.tuples(st.integers(0, 3), st.sampled_from([0, 3, 7, 12, 21]), st.integers(1, 24))


@settings(max_examples=8)
@given(
    streams=st.lists(STREAM, min_size=1, max_size=4),
    history=st.sampled_from([10, 16, 30]),
    guidance=st.sampled_from([None, 0.0]),
    seed=st.integers(0, 99),
)
@torch.inference_mode()
def test_a_stream_in_any_batch_is_the_stream_alone(streams, history, guidance, seed):
    draw = torch.Generator().manual_seed(seed)
    hops = batch(history, guidance)
    pool, free = hops.pool, (len(hops.pool.free_rows), len(hops.pool.free_pages))
    voices = {count: prompt(hops, count) for count in {count for _, count, _ in streams}}
    tokens = [torch.randint(0, 50, (count,), generator=draw).tolist() for _, _, count in streams]
    waiting, running, samples = list(range(len(streams))), {}, {}
    now = 0
    while waiting or running:
        for number in [n for n in waiting if streams[n][0] <= now and pool.free_rows][:3]:
            if pool.free_rows:
                waiting.remove(number)
                row = HopRow(pool, voices[streams[number][1]], hops.sound, number)
                running[number] = (row, voices[streams[number][1]].rest + tokens[number])
                samples[number] = []
        # A row may be left out of a hop.
        chosen = [n for n in running if (now + n) % 3] or list(running)
        if chosen:
            given = [running[n][0].next(running[n][1], True) for n in chosen]
            made = hops(given)
            for place, (number, hop) in enumerate(zip(chosen, given, strict=True)):
                row, left = running[number]
                samples[number].append(made[place, slice(*hop.heard)])
                running[number] = (row, left[CHUNK:])
                if row.done:
                    wanted = alone(hops, row, streams[number][1], tokens[number], history, guidance)
                    sound = torch.cat(samples[number])
                    assert sound.shape == wanted.shape
                    assert (sound - wanted).abs().max() < 5e-3
                    row.free()
                    del running[number]
        now += 1
    for made in voices.values():
        pool.free_pages.extend(made.pages)
    assert (len(pool.free_rows), len(pool.free_pages)) == free


@torch.inference_mode()
def test_a_row_that_is_not_a_number_fails_alone():
    hops = batch(10)
    base = prompt(hops, 7)
    rows = [HopRow(hops.pool, base, hops.sound, 0) for _ in range(2)]
    hops.pool.speaker[rows[1].row] = float("nan")
    tokens = base.rest + list(range(12))
    for at in range(0, len(tokens), CHUNK):
        made = hops([row.next(tokens[at:], True) for row in rows])
        assert made[0].isfinite().all()
    assert not made[1].isfinite().all()
    rows[1].free(damaged=True)
    again = HopRow(hops.pool, base, hops.sound, 0)
    assert again.row == rows[1].row
    assert hops([again.next(tokens, True)]).isfinite().all()


@torch.inference_mode()
def test_rows_placed_together_begin_as_each_would_alone():
    hops = batch(10)
    base = prompt(hops, 7)
    for kept in (*hops.pool.states, hops.pool.speaker, hops.pool.given, hops.pool.sound):
        kept[1:] = 3
    alone = HopRow(hops.pool, base, hops.sound, 0).row
    rows = [HopRow(hops.pool, base, hops.sound, seed, placed=False).row for seed in (1, 2)]
    base.place(hops.pool, rows)
    for kept in (*hops.pool.states, hops.pool.speaker, hops.pool.given, hops.pool.sound):
        assert all(torch.equal(kept[row], kept[alone]) for row in rows) and (kept[alone] != 3).any()


def test_bytes_of_a_stream_are_its_window():
    pool = batch(20).pool
    layers, width, frames = len(pool.plan.row_of) // 2, 16, 20
    keys = 2 * STEPS * 2 * layers * frames * width * 4
    assert keys < pool.stream_bytes < 1.35 * keys + VOCODER.config.hop * 4 * 40
    assert pool.stream_bytes > batch(20, guidance=0.0).pool.stream_bytes


@pytest.mark.parametrize(
    "options", [{"history": 0, "steps": 2}, {"history": 4, "steps": 2}, {"history": 10, "steps": 0}]
)
def test_sizes_that_cannot_be(options):
    with pytest.raises(MamTraError):
        HopSizes.of(FLOW, **options)


def test_a_prompt_needs_pages():
    hops = batch(10)
    with pytest.raises(MamTraError, match="needs 13 pages"), torch.inference_mode():
        prompt(hops, 70)
