"""Resident memory of one process over many utterances of different lengths, and what bounding it costs.

    python benchmarks/memory_growth.py [--utterances 300] [--ways say stream ...] [--out docs/results/memory_growth.json]

oneDNN, which torch computes convolutions with, keeps what it makes for a new shape in two caches; `mamtra.runtime.before_torch`
bounds both. Each way to speak has a fresh process that speaks the same texts with the embedded voice; the resident size is read
after each, and what was measured so far is kept. CPU seconds are those of one thread, and are compared utterance by utterance.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from record import benchmark, environment

from mamtra.evaluate.sentences import read_sentences
from mamtra.runtime.before_torch import CACHES
from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import footnote, markdown_table

SETTLED = 10
"""Utterances before growth is counted."""
SAVED_EVERY = 20


class Way(NamedTuple):
    """A way to speak: what the page calls it, the runtime, and whether sound is streamed, threads are new, caches are bounded."""

    title: str
    runtime: str = "torch"
    stream: bool = False
    threads: bool = False
    bounded: bool = True


WAYS = {
    "say": Way("`say`"),
    "stream": Way("`stream`", stream=True),
    "threads": Way("`say`, each in a thread of its own", threads=True),
    "onnx": Way("`say` without torch", runtime="onnx"),
    "unbounded": Way("`say`, caches as torch has them", bounded=False),
}
BASELINE = "unbounded"


def texts(count: int, seed: int, longest: int) -> list[str]:
    """Texts of 3 to `longest` words, cut out of the built-in sentences."""
    draw, words = random.Random(seed), " ".join(read_sentences()).split()
    made = []
    for _ in range(count):
        length = draw.randint(3, longest)
        start = draw.randrange(len(words) - length)
        made.append(" ".join(words[start : start + length]).strip(".,?!") + ".")
    return made


def speak(args: argparse.Namespace) -> None:
    """Speak, and print resident MiB, CPU seconds and seconds of sound after each utterance."""
    import mamtra

    way, page = WAYS[args.speak], os.sysconf("SC_PAGE_SIZE")
    tts = mamtra.load(runtime=way.runtime, flow_steps=args.flow_steps)

    def one(text: str, number: int) -> None:
        begun = time.process_time()
        if way.stream:
            seconds = sum(chunk.seconds for chunk in tts.stream(text, seed=number))
        else:
            seconds = tts.say(text, seed=number).seconds
        spent = time.process_time() - begun
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20
        print(json.dumps([round(resident, 1), round(spent, 4), round(seconds, 3)]), flush=True)

    for number, text in enumerate(texts(args.utterances, args.seed, args.longest)):
        if way.threads:
            thread = threading.Thread(target=one, args=(text, number))
            thread.start()
            thread.join()
        else:
            one(text, number)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The ways side by side, each in a process of its own."""
    options = ["--utterances", str(args.utterances), "--seed", str(args.seed), "--longest", str(args.longest)]
    options += [] if args.flow_steps is None else ["--flow-steps", str(args.flow_steps)]
    running = {}
    for name in args.ways:
        settings = {key: value for key, value in environment(1).items() if key not in CACHES}
        settings |= {} if WAYS[name].bounded else dict.fromkeys(CACHES, "1024")
        command = [sys.executable, __file__, "--speak", name, *options]
        running[name] = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
    rows: dict[str, list[list[float]]] = {name: [] for name in running}
    for count, lines in enumerate(zip(*(process.stdout for process in running.values()), strict=False), 1):
        for name, line in zip(running, lines, strict=True):
            rows[name].append(json.loads(line))
        if count % SAVED_EVERY == 0 or count == args.utterances:
            yield {
                "utterances": count, "longest": args.longest, "seed": args.seed, "flow_steps": args.flow_steps,
                "caches": CACHES, "rows": rows,
            }  # fmt: skip
    if failed := [name for name, process in running.items() if process.wait()]:
        raise SystemExit(f"speaking ({', '.join(failed)}) failed")


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows, lines = result["rows"], []
    for name, found in rows.items():
        resident = [row[0] for row in found]
        begun, last = resident[SETTLED - 1], statistics.median(resident[-SETTLED:])
        ratio = ""
        if name in ("say", BASELINE) and BASELINE in rows:
            pairs = zip(found, rows[BASELINE], strict=True)
            ratio = f"{statistics.median(row[1] / other[1] for row, other in pairs):.3f}"
        growth = f"{100 * (last / begun - 1):+.1f}%"
        cells = [WAYS[name].title, f"{begun:.0f}", f"{last:.0f}", growth, f"{max(resident):.0f}"]
        lines.append([*cells, ratio] if BASELINE in rows else cells)
    head = ["", f"MiB after {SETTLED}", "at the end", "growth", "largest"]
    cost = ["CPU time: median ratio to the caches as torch has them, utterance by utterance, one thread."]
    head, cost = ([*head, "CPU time"], cost) if BASELINE in rows else (head, [])
    bounds = " and ".join(f"`{name}={value}`" for name, value in result["caches"].items())
    steps = f", with {result['flow_steps']} steps of the flow" if result["flow_steps"] else ""
    return "\n".join([
        "# Memory over many utterances",
        "",
        f"Resident memory of a process that speaks {result['utterances']} texts of 3 to {result['longest']} words{steps}, in",
        "several ways. torch's convolutions keep what they make for each new length, in two caches of 1,024 entries that",
        "`import mamtra` bounds:",
        f"{bounds}, where they are not set.",
        *cost,
        "",
        markdown_table(head, lines),
        "",
        "![resident memory](memory_growth.svg)",
        "",
        footnote(result),
        "",
    ])  # fmt: skip


def draw(result: dict[str, Any], path: Path) -> None:
    """Resident memory after each utterance."""
    with canvas(path, (6, 3)) as figure:
        axes = figure.add_subplot()
        for name, found in result["rows"].items():
            axes.plot([row[0] for row in found], label=WAYS[name].title.replace("`", ""), linewidth=1)
        axes.set(xlabel="utterances", ylabel="resident MiB", ylim=(0, None))
        axes.legend(fontsize="small")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--utterances", type=int, default=300)
    parser.add_argument("--longest", type=int, default=25, help="words of a text, at most")
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--flow-steps", type=int, help="of the flow; fewer take less time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speak", choices=WAYS, help="what the processes run")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    options(parser)
    given, _ = parser.parse_known_args(argv)
    if given.speak:
        speak(given)
        return
    benchmark("memory_growth", __doc__, measure, render, options, argv)
    page = Path("docs/results/memory_growth.json")
    if page.is_file():
        draw(json.loads(page.read_text()), page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
