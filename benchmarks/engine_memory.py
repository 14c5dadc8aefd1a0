"""Memory of the decode engine over many requests that join, leave and are cancelled at random.

    python benchmarks/engine_memory.py [--requests 10000] [--seed 0] [--out docs/results/engine_memory.json]

A tiny hybrid on a CPU, for both kinds of slots. Requests join in random numbers between the turns; some start from a snapshot, some
get their text while they run, some are cancelled at a random step, some are refused because they cannot fit. After every
hundredth of them the resident size of the process and the number of live tensors are read, both after a garbage collection; the
figures are medians over the first and the last tenth.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from record import benchmark

from mamtra.engine.engine import Engine
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Request, Sampling, TokenStream, Unistream
from mamtra.errors import MamTraError
from mamtra.models.layout import SOS, TEXT
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM, SpeechLMConfig
from mamtra.runtime.results import markdown_table, page

KINDS = {"of a CPU": None, "of a GPU, run on the CPU": False}
"""Slots, and the engine's argument `deterministic` that chooses them."""
SLOTS, CAPACITY, PROMPT = 16, 100, 4
LENGTHS = LengthConfig(min_ratio=1, max_ratio=2)


def tiny_lm() -> SpeechLM:
    config = SpeechLMConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, text_vocab_size=40, num_speech_tokens=30, speech_vocab_size=33, eos_id=30, fill_id=32,
        layer_types=("full_attention", "linear_attention"),
    )  # fmt: skip
    return SpeechLM(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)


class Clients:
    """Requests of many clients, made and followed turn by turn.

    Args:
        engine: that they use.
        seed: of everything that is random.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine, self.draw = engine, random.Random(seed)
        self.prefix = engine.snapshot([(SOS, SOS)] + [(TEXT, i) for i in range(PROMPT)])
        self.counts = dict.fromkeys(("finished", "cancelled", "refused"), 0)
        self._running: list[tuple[TokenStream, Interleaved | None]] = []

    def turn(self, join: bool) -> None:
        """Some may join or be cancelled, then the engine makes a turn."""
        draw = self.draw
        while join and draw.random() < 0.75:
            self._join()
        for stream, layout in self._running:
            if layout is not None and draw.random() < 0.3:
                layout.push([draw.randrange(40)])
                if draw.random() < 0.1:
                    layout.end()
                stream.more_text()
            if draw.random() < 0.01:
                stream.cancel()
        self.engine._batcher.turn()
        for stream, _ in self._running:
            if stream.finish_reason is not None:
                self.counts["cancelled" if stream.finish_reason == "cancelled" else "finished"] += 1
        self._running = [(stream, layout) for stream, layout in self._running if stream.finish_reason is None]

    @property
    def made(self) -> int:
        """Requests that have come to an end."""
        return sum(self.counts.values())

    @property
    def idle(self) -> bool:
        return not self._running

    def _join(self) -> None:
        draw = self.draw
        text = [draw.randrange(40) for _ in range(100 if draw.random() < 0.01 else draw.randint(1, 4))]
        layout: Any = Interleaved(text, lengths=LENGTHS) if draw.random() < 0.1 else None
        prefix = self.prefix if layout is None and draw.random() < 0.3 else None
        chosen = layout or Unistream(text, [0] * PROMPT, lengths=LENGTHS)
        try:
            request = Request(chosen, draw.randrange(2**31), Sampling(greedy=draw.random() < 0.2), prefix)
            self._running.append((self.engine.submit(request), layout))
        except MamTraError:
            self.counts["refused"] += 1


def resident() -> int:
    """Bytes of the process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def tensors() -> int:
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def measure(kind: str, requests: int, seed: int, count: int = 100) -> dict[str, Any]:
    """Growth of memory over the requests, from so many readings."""
    readings: list[tuple[int, int, int]] = []
    with Engine(tiny_lm(), slots=SLOTS, capacity=CAPACITY, deterministic=KINDS[kind]) as engine:
        clients = Clients(engine, seed)
        while clients.made < requests or not clients.idle:
            clients.turn(join=clients.made < requests)
            if clients.made >= (len(readings) + 1) * requests // count:
                gc.collect()
                readings.append((clients.made, resident(), tensors()))
        batcher = engine._batcher
        left = len(batcher.scheduler.running) + len(batcher.scheduler.waiting) + len(batcher._flights)
    tenth = max(1, len(readings) // 10)
    first, last = (
        [statistics.median(r[i] for r in part) for i in (1, 2)] for part in (readings[:tenth], readings[-tenth:])
    )
    return {
        "slots": kind, **clients.counts, "resident_first": first[0], "resident_last": last[0],
        "tensors_first": first[1], "tensors_last": last[1], "left_in_the_engine": left,
    }  # fmt: skip


def render(result: dict[str, Any]) -> str:
    rows = [
        [
            row["slots"], f"{row['finished']:,}", f"{row['cancelled']:,}", f"{row['refused']:,}",
            f"{row['resident_first'] / 2**20:.1f}", f"{row['resident_last'] / 2**20:.1f}",
            f"{row['tensors_first']:.0f}", f"{row['tensors_last']:.0f}", row["left_in_the_engine"],
        ]
        for row in result["rows"]
    ]  # fmt: skip
    head = ["slots", "finished", "cancelled", "refused", "MiB, first tenth", "MiB, last tenth",
            "tensors, first tenth", "tensors, last tenth", "left in the engine"]  # fmt: skip
    about = (
        "A tiny hybrid on a CPU; requests join, leave and are cancelled at random, some start from a snapshot, some get their text "
        "while they run, and some are too long and refused. Resident size of the process and live tensors: medians over the "
        "first and the last tenth of the requests."
    )
    return page(result, "# Memory of the decode engine over many requests", about, markdown_table(head, rows))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)


def run(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each kind of slots."""
    torch.set_num_threads(args.threads)
    rows = []
    for kind in KINDS:
        rows.append(measure(kind, args.requests, args.seed))
        yield {"requests": args.requests, "seed": args.seed, "rows": rows}


if __name__ == "__main__":
    benchmark("engine_memory", __doc__, run, render, options, None)
