"""What a user waits for on a GPU: first and further tokens of the LM at CosyVoice 2's size, and the embedded voice end to end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch

from mamtra.bench.batch_parts import batch_parts
from mamtra.bench.decode_peers import Transformers
from mamtra.bench.latency_page import draw, render
from mamtra.bench.run import measure
from mamtra.cost.measured_memory import free, open_engine, random_lm
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Request, Unistream
from mamtra.evaluate.sentences import read_sentences
from mamtra.models.kinds import MIX
from mamtra.models.sampling_config import LengthConfig
from mamtra.tts import TTS, Text

RATIOS = ("1:0", "1:1", "1:5")
INPUTS, TOKENS, RUNS = (250, 1000, 4000), 50, 7
PROMPTS = (75, 250, 750)
"""Speech tokens of a voice's prompt: 3, 10 and 30 s."""
TEXTS, ROUNDS = 32, 3
STREAMS = (1, 8, 32)


def _rows(device: torch.device, tiny: bool, peers: bool, ends: float) -> Iterator[dict[str, Any]]:
    yield from _voice(device, tiny, ends)
    for ratio in RATIOS:
        lm = random_lm(ratio, device, tiny)
        for inputs in (20,) if tiny else INPUTS:
            if time.perf_counter() < ends:
                yield {"system": "engine", "ratio": ratio, "inputs": inputs, **_tokens(lm, inputs)}
        for speech in PROMPTS if not tiny else (15,) if ratio == "1:1" else ():
            if time.perf_counter() < ends:
                yield {"ratio": ratio, "prompt": speech, **_prompts(lm, speech, RUNS if not tiny else 3)}
        del lm
        free(device)
    if peers and device.type == "cuda" and not tiny:
        yield from _transformers(device, ends)


def _tokens(lm: Any, inputs: int) -> dict[str, Any]:
    """Milliseconds from the request to its first token, and of each of the others."""
    lengths, firsts, others = LengthConfig(min_ratio=0, max_ratio=1e-6, min_tokens=TOKENS), [], []
    with open_engine(lm, 1, inputs + TOKENS) as engine:
        for seed in range(RUNS):
            began = time.perf_counter()
            stream = engine.submit(Request(Unistream([1] * (inputs - 2), lengths=lengths), seed=seed))
            next(stream)
            first = time.perf_counter()
            count = len(stream.result()) - 1
            firsts.append(1e3 * (first - began))
            others.append(1e3 * (time.perf_counter() - first) / count)
    return {"first": _spread(firsts[2:]), "token": _spread(others[2:])}


def _prompts(lm: Any, speech: int, runs: int) -> dict[str, Any]:
    """Milliseconds to the first token where text arrives: of voices that were not heard before, and of one that was."""
    text = -(-speech // MIX[1]) * MIX[0]
    with open_engine(lm, 2, text + speech + TOKENS) as engine:

        def first(voice: int) -> float:
            layout = Interleaved([voice + 1] * text, [voice + 1] * speech, text_ids=iter([1] * MIX[0]))
            began = time.perf_counter()
            stream = engine.submit(Request(layout, seed=0))
            next(stream)
            spent = 1e3 * (time.perf_counter() - began)
            stream.cancel()
            return spent

        fed = [first(voice) for voice in range(runs)]
        restored = [first(runs - 1) for _ in range(runs)]
    return {"fed": _spread(fed[2:]), "restored": _spread(restored[2:])}


def _transformers(device: torch.device, ends: float) -> Iterator[dict[str, Any]]:
    try:
        peer = Transformers(device)
    except ImportError:
        return
    for inputs in INPUTS[:2]:
        for static in (False, True):
            if time.perf_counter() > ends:
                return
            firsts = peer.prefill_times(inputs, 5, static=static)
            tokens = peer.times(1, inputs + 8, 8, static=static, compiled=False)
            yield {
                "system": peer.name(static=static, compiled=False), "ratio": "1:0", "inputs": inputs,
                "first": _spread(firsts[2:]), "token": _spread(tokens),
            }  # fmt: skip


def _voice(device: torch.device, tiny: bool, ends: float) -> Iterator[dict[str, Any]]:
    """The embedded voice: sentences one by one and at once, and first sound of streams side by side."""
    tts = TTS.load("mini", device=device)
    count, rounds = (TEXTS, ROUNDS) if not tiny else (2, 1)
    texts = (2 * read_sentences())[:count]
    tts.voice()

    def one_by_one() -> float:
        return sum(tts.say(text, seed=i).seconds for i, text in enumerate(texts))

    def at_once() -> float:
        return sum(audio.seconds for audio in tts.batch([Text(text, seed=i) for i, text in enumerate(texts)]))

    def in_threads() -> float:
        return sum(audio.seconds for audio in _together(lambda i: tts.say(texts[i], seed=i), count))

    ways = {"one by one": one_by_one, "at once": at_once, "from threads": in_threads}
    for way in ways.values():  # every shape is captured at its second call
        for _ in range(2 if not tiny else 0):
            way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    audio = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            audio[name] = way()
            times[name].append(time.perf_counter() - began)
    for name in ways:
        yield {"voice": name, "texts": count, "audio_seconds": audio[name], "seconds": _spread(times[name])}
    for name, seconds in batch_parts(tts, texts, rounds).items():
        yield {"part": name, "texts": count, "spent": _spread(seconds)}
    for streams in STREAMS if not tiny else (1,):
        if time.perf_counter() > ends:
            return

        def first_sound(i: int) -> float:
            began = time.perf_counter()
            chunks = tts.stream(texts[i % count], seed=i)
            next(chunks)
            spent = 1e3 * (time.perf_counter() - began)
            for _ in chunks:
                pass
            return spent

        found = [ms for _ in range(rounds + 1) for ms in _together(first_sound, streams)][streams:]
        yield {"voice": "streams", "streams": streams, "first_sound": _spread(found)}


def _together(run: Callable[[int], Any], count: int) -> list[Any]:
    """Results of calls from so many threads at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    return {
        "median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1],
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], "runs": len(values),
    }  # fmt: skip


bench_latency = partial(measure, name="bench_latency", rows=_rows, render=render, draw=draw)
