"""Whether the guards of the sampler have anything to do in the embedded voice, on a CPU.

    python benchmarks/guards.py --set LIST.tsv [--sentences 100] [--seeds 5] [--threads 2] [--out docs/results/guards.json]

The first run of the LM for sentences of a list (columns id, text, spoken), and for those with repeated words of lists.tsv (set
`dev`), without guards: the longest rows of one token and of silent tokens tell which limit would have changed a draw. Silent are
the tokens of which most occurrences in the list sound at less than -50 dB of full scale.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lists import read_lists
from record import benchmark

from mamtra.evaluate.sets import read_set
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.coverage import attention_of, misread
from mamtra.synthesis.sentence import generate_tokens
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.tts import TTS

REPEATS, SILENCE = (1, 2, 3, 4), (5, 10, 15, 20, 25)
QUIET = 10 ** (-50 / 20)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", type=Path, help="list of sentences")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.set is None:
        raise SystemExit("give --set")
    torch.set_num_threads(args.threads)
    tts = TTS.load("mini", device="cpu")
    plain = [line.text for line in read_set(args.set, args.sentences).lines]
    lists = [row["text"] for row in read_lists("dev")]
    spoken = {"plain": say(tts, plain, 1), "lists": say(tts, lists, args.seeds)}
    silent = silent_tokens(tts, [tokens for tokens, _ in spoken["plain"]])
    yield {
        "model": tts.model.name, "silent": sorted(silent), "seeds": args.seeds,
        "sets": {name: summarise(runs, silent) for name, runs in spoken.items()},
    }  # fmt: skip


def say(tts: TTS, texts: Sequence[str], seeds: int) -> list[tuple[list[int], bool]]:
    """Tokens of every segment, and whether words were left out or said twice."""
    model, voice, found = tts.model, tts.voice(), []
    for text in texts:
        for segment in model.text.segments(text):
            for seed in range(seeds):
                tokens, _ = generate_tokens(model, voice, segment.ids, seed)
                found.append((tokens, misread(attention_of(model, voice, segment.ids, tokens)) > 0))
    return found


def silent_tokens(tts: TTS, runs: Sequence[Sequence[int]]) -> frozenset[int]:
    """Tokens that are heard as silence."""
    times, quiet = Counter[int](), Counter[int]()
    for tokens in runs:
        samples = tokens_to_samples(tts.model, tts.voice(), tokens, seed=0)
        frames = np.asarray(samples).reshape(len(tokens), -1)
        for token, level in zip(tokens, np.sqrt((frames**2).mean(1)), strict=True):
            times[token] += 1
            quiet[token] += bool(level < QUIET)
    return frozenset(token for token, count in times.items() if 2 * quiet[token] > count)


def summarise(runs: Sequence[tuple[list[int], bool]], silent: frozenset[int]) -> dict[str, Any]:
    """Runs that a limit would have changed, those that are misread among them, and the rows themselves."""
    rows = [(longest_row(tokens), longest_row([t in silent for t in tokens], of=True), bad) for tokens, bad in runs]

    def held(which: int, limit: int) -> list[int]:
        found = [row for row in rows if row[which] > limit]
        return [limit, len(found), sum(row[2] for row in found)]

    return {
        "runs": len(rows), "tokens": sum(len(tokens) for tokens, _ in runs), "misread": sum(row[2] for row in rows),
        "longest_repeat": max(row[0] for row in rows), "longest_silence": max(row[1] for row in rows),
        "most_repeats": [held(0, limit) for limit in REPEATS], "most_silence": [held(1, limit) for limit in SILENCE],
    }  # fmt: skip


def longest_row(values: Sequence[Any], of: Any = None) -> int:
    """Length of the longest row of equal values, or of this one."""
    return max((sum(1 for _ in row) for value, row in groupby(values) if of is None or value == of), default=0)


def render(result: dict[str, Any]) -> str:
    names = {"plain": "development sentences", "lists": "repeated words"}
    rows = [
        (names[name], f"`{guard}` {limit}", found["runs"], changed, found["misread"], saved)
        for name, found in result["sets"].items()
        for guard in ("most_repeats", "most_silence")
        for limit, changed, saved in found[guard]
    ]
    longest = "; ".join(
        f"{names[name]}: {found['longest_repeat']} of one token, {found['longest_silence']} silent"
        for name, found in result["sets"].items()
    )
    about = (
        f"The first run of the LM of {result['model']} for each segment, without guards; the sentences with repeated words "
        f"(`benchmarks/lists.tsv`, set `dev`) with {result['seeds']} seeds. A guard would have changed a run where a row was "
        f"longer than its limit. Misread: the check of `say` finds words left out or said twice. {len(result['silent'])} tokens "
        "count as silent: most of their occurrences sound at less than -50 dB of full scale."
    )
    head = ("sentences", "guard", "runs", "changed", "misread runs", "changed among these")
    return page(result, "# Guards of the sampler", about, markdown_table(head, rows), f"Longest rows: {longest}.")


if __name__ == "__main__":
    benchmark("guards", __doc__, measure, render, options, None)
