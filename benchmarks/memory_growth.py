"""Resident memory of one process over many utterances of different lengths, and what bounding it costs.

    python benchmarks/memory_growth.py [--utterances 300] [--capacities 64 1024] [--out docs/results/memory_growth.json]

oneDNN, which torch computes convolutions and products with, keeps a primitive for every new shape; ONEDNN_PRIMITIVE_CACHE_CAPACITY
bounds how many. Each capacity has a fresh process that speaks the same texts of 3 to 25 words with the embedded voice; the resident
size is read after each. CPU seconds are those of one thread, and are compared utterance by utterance.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import benchmark, environment

from mamtra.evaluate.sentences import read_sentences
from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import footnote, markdown_table

SETTING = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
SETTLED = 10
"""Utterances before growth is counted."""


def texts(count: int, seed: int) -> list[str]:
    """Texts of 3 to 25 words, cut out of the built-in sentences."""
    draw, words = random.Random(seed), " ".join(read_sentences()).split()
    made = []
    for _ in range(count):
        length = draw.randint(3, 25)
        start = draw.randrange(len(words) - length)
        made.append(" ".join(words[start : start + length]).strip(".,?!") + ".")
    return made


def speak(count: int, seed: int) -> None:
    """Speak, and print resident MiB, CPU seconds and seconds of sound after each utterance."""
    import mamtra

    tts, page = mamtra.load(runtime="torch"), os.sysconf("SC_PAGE_SIZE")
    for number, text in enumerate(texts(count, seed)):
        begun = time.process_time()
        sound = tts.say(text, seed=number)
        spent = time.process_time() - begun
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20
        print(json.dumps([round(resident, 1), round(spent, 4), round(sound.seconds, 3)]), flush=True)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The capacities side by side, each in a process of its own."""
    command = [sys.executable, __file__, "--speak", "--utterances", str(args.utterances), "--seed", str(args.seed)]
    running = {}
    for capacity in args.capacities:
        settings = environment(1) | {SETTING: str(capacity)}
        running[capacity] = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
    rows = {}
    for capacity, process in running.items():
        rows[str(capacity)] = [json.loads(line) for line in process.communicate()[0].splitlines()]
        if process.returncode:
            raise SystemExit(f"speaking with {SETTING}={capacity} failed")
    yield {"utterances": args.utterances, "seed": args.seed, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows, lines = result["rows"], []
    plain = rows[max(rows, key=int)]
    for capacity, found in sorted(rows.items(), key=lambda item: int(item[0])):
        resident = [row[0] for row in found]
        ratio = statistics.median(row[1] / other[1] for row, other in zip(found, plain, strict=True))
        begun, last = resident[SETTLED - 1], statistics.median(resident[-SETTLED:])
        lines.append([
            capacity, f"{begun:.0f}", f"{last:.0f}", f"{100 * (last / begun - 1):+.0f}%", f"{max(resident):.0f}", f"{ratio:.3f}",
        ])  # fmt: skip
    head = ["primitives kept", f"MiB after {SETTLED}", "at the end", "growth", "largest", "CPU time"]
    return "\n".join([
        "# Memory over many utterances",
        "",
        f"Resident memory of a process that speaks {result['utterances']} texts of 3 to 25 words, by how many primitives",
        f"oneDNN keeps (`{SETTING}`; its own default is 1024, `import mamtra` sets 64 where it is not set).",
        "CPU time: median ratio to the largest number, utterance by utterance, one thread.",
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
        for capacity, found in sorted(result["rows"].items(), key=lambda item: int(item[0])):
            axes.plot([row[0] for row in found], label=f"{capacity} primitives kept", linewidth=1)
        axes.set(xlabel="utterances", ylabel="resident MiB", ylim=(0, None))
        axes.legend()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--utterances", type=int, default=300)
    parser.add_argument("--capacities", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speak", action="store_true", help="what the processes run")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    options(parser)
    given, _ = parser.parse_known_args(argv)
    if given.speak:
        speak(given.utterances, given.seed)
        return
    benchmark("memory_growth", __doc__, measure, render, options, argv)
    page = Path("docs/results/memory_growth.json")
    if page.is_file():
        draw(json.loads(page.read_text()), page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
