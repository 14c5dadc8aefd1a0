"""One stream on a CPU: the engine against the plain loop over packed weights, and the engine with the slots of a GPU.

    python benchmarks/engine_step.py [--model mini] [--runs 15] [--threads 2] [--out docs/results/engine_step.json]

Milliseconds for each token of one sentence, prefill left out, the sampler included. The systems take turns; their tokens are
equal where they draw the same random numbers. The first round is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from record import benchmark, show_spread, spread

from mamtra.engine.engine import Engine
from mamtra.engine.packed_step import PackedDecoder
from mamtra.engine.reference import generate
from mamtra.engine.request import Request, Sampling, Unistream
from mamtra.engine.sampling import ras_sample
from mamtra.models.sampling_config import LengthConfig
from mamtra.runtime.results import markdown_table, page
from mamtra.tts import TTS

TEXT = "Good morning."
LENGTHS = LengthConfig(min_ratio=5, max_ratio=5)
SYSTEMS = ("engine", "plain loop, packed weights", "engine with the slots of a GPU", "plain loop, the model itself")


def starts(tts: TTS) -> dict[str, Callable[[], Iterator[int]]]:
    """What starts a run of each system."""
    lm, settings, voice = tts.model.lm, tts.model.generation, tts.voice()
    ids, prompt = tts.model.text.segments(TEXT)[0].ids, [part.tolist() for part in voice.lm_prompt]
    packed, sampler = PackedDecoder(lm), partial(ras_sample, config=settings)
    other = Engine(lm, slots=1, capacity=1024, deterministic=False)

    def by(engine: Engine) -> Iterator[int]:
        return engine.submit(Request(Unistream(ids, *prompt, lengths=LENGTHS), 0, Sampling(ras=settings)))

    def plain(step: Any) -> Iterator[int]:
        generator = torch.Generator().manual_seed(0)
        return generate(lm, ids, *prompt, generator=generator, lengths=LENGTHS, sampler=sampler, step=step)

    runs = (partial(by, tts.model.engine), partial(plain, packed), partial(by, other), partial(plain, lm.next_logits))
    return dict(zip(SYSTEMS, runs, strict=True))


def timed(start: Callable[[], Iterator[int]]) -> tuple[float, list[int]]:
    """Milliseconds a token behind the first one, and the tokens."""
    run = start()
    tokens = [next(run)]
    began = time.perf_counter()
    tokens += run
    return 1000 * (time.perf_counter() - began) / max(1, len(tokens) - 1), tokens


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(args.threads)
    tts = TTS.load(args.model, device="cpu")
    systems, times = starts(tts), {name: list[float]() for name in SYSTEMS}
    for round_ in range(args.runs + 1):
        tokens = {}
        for name, start in systems.items():
            spent, tokens[name] = timed(start)
            times[name] += [spent] * (round_ > 0)
        equal = tokens[SYSTEMS[0]] == tokens[SYSTEMS[1]]
    rows = [{"system": name, "milliseconds": spread(values)} for name, values in times.items()]
    yield {"model": tts.model.name, "tokens": len(tokens[SYSTEMS[0]]), "equal": equal, "rows": rows}


def render(result: dict[str, Any]) -> str:
    base = result["rows"][1]["milliseconds"]
    rows = [
        [row["system"], show_spread(row["milliseconds"], 2), f"{row['milliseconds']['median'] / base['median']:.2f}",
         f"{row['milliseconds']['min'] / base['min']:.2f}"]
        for row in result["rows"]
    ]  # fmt: skip
    head = ["system", "ms a token (range)", "median against the packed loop", "fastest run against its fastest"]
    about = (
        f"The model {result['model']} on a CPU, {result['tokens']} tokens of one sentence, {base['runs']} runs of each system in "
        f"turn. The tokens of the first two are {'equal' if result['equal'] else 'NOT equal'}. Other programs used the machine "
        "meanwhile, which medians and ranges show; the fastest runs are those that were disturbed least."
    )
    return page(result, "# One stream on a CPU", about, markdown_table(head, rows))


if __name__ == "__main__":
    benchmark("engine_step", __doc__, measure, render, options, None)
