"""Score files of `mamtra evaluate` as one page: figures, failures, differences to a row, and where time went.

    python benchmarks/score_table.py ground_truth.jsonl mini.jsonl --title TITLE [--against FILE] --out docs/results/NAME.json

All files must have been measured in the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import benchmark

from mamtra.evaluate.score_file import ScoreFile, differences, read_scores
from mamtra.evaluate.summary import SPEED, compare_scores, summarise
from mamtra.runtime.results import markdown_table, page

FIGURES = {
    "wer_english": ("WER %", 2), "wer_basic": ("WER %, basic", 2), "wer_seedtts_macro": ("WER %, Seed-TTS", 2),
    "cer_english": ("CER %", 2), "similarity_to_prompt": ("similarity to prompt", 3),
    "similarity_to_ground_truth": ("similarity to ground truth", 3), "mos": ("DistilMOS", 2),
    "duration_ratio": ("duration ratio", 2), "rtf": ("real-time factor", 2),
}  # fmt: skip
COUNTS = ("utterances", "wer_english")


def shown(value: dict[str, Any], digits: int) -> str:
    low, high = value["ci95"]
    return f"{value['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def tabulate(files: dict[str, ScoreFile], against: str) -> dict[str, Any]:
    """Summaries by system, and what each other one differs by from `against`."""
    first = next(iter(files.values()))
    for name, scores in files.items():
        unlike = differences(first.fingerprint, scores.fingerprint)
        if unlike:
            raise SystemExit(f"{name} was measured differently: {', '.join(map(str, unlike))}")
    return {
        "set": {
            key: first.fingerprint[key]
            for key in ("set", "set_sha256", "lines", "asr", "metrics")
            if key in first.fingerprint
        },
        "against": against,
        "systems": {name: summarise(scores) for name, scores in files.items()},
        "differences": {
            name: compare_scores(files[against], scores) for name, scores in files.items() if name != against
        },
    }


def render(result: dict[str, Any]) -> str:
    """The page, in Markdown."""
    systems, about = result["systems"], result["set"]
    names = [key for key in FIGURES if any(key in s["figures"] for s in systems.values())]
    main = [
        (name, *(shown(s["figures"][key], FIGURES[key][1]) if key in s["figures"] else "" for key in names))
        for name, s in systems.items()
    ]
    kinds = sorted({kind for s in systems.values() for group in s["failures"].values() for kind in group} - {*COUNTS})
    failures = [
        (name, bucket, group["utterances"], f"{group['wer_english']:.1f}", *(group.get(kind, 0) for kind in kinds))
        for name, s in systems.items()
        for bucket, group in s["failures"].items()
    ]
    pairs = [
        (name, FIGURES[key][0], shown({"value": f["difference"], "ci95": f["ci95"]}, FIGURES[key][1]),
         *((f"{f['lower']} / {f['higher']}", f"{f['p_sign']:.2g}") if key not in SPEED else ("", "")))
        for name, found in result["differences"].items()
        for key, f in found["figures"].items()
        if key in names
    ]  # fmt: skip
    spent = [
        (name, *(f"{seconds:.0f}" for seconds in s["spent"].values())) for name, s in systems.items() if s["spent"]
    ]
    parts = [
        f"# {result['title']}",
        f"{about['lines']} lines of {about['set']}, {about['asr']}; "
        + ", ".join(f"{what}: {scorer}" for what, scorer in about["metrics"].items())
        + ". 95% bootstrap intervals over utterances.",
        markdown_table(("", *(FIGURES[key][0] for key in names)), main),
        f"## Differences to {result['against']}",
        markdown_table(("", "", "difference", "lower / higher", "p, sign test"), pairs),
        "## By number of words",
        markdown_table(("", "words", "utterances", "WER %", *kinds), failures),
    ]
    if spent:
        heads = next(s["spent"] for s in systems.values() if s["spent"])
        parts += ["## Seconds spent, all processes together", markdown_table(("", *heads), spent)]
    return page(result, *parts)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--title", default="Scores")
    parser.add_argument("--against", type=Path, help="the first file by default")


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The table."""
    if not args.files:
        raise SystemExit("give score files of `mamtra evaluate`")
    files = {path.stem: read_scores(path) for path in args.files}
    yield {"title": args.title, **tabulate(files, (args.against or args.files[0]).stem)}


def main(argv: list[str] | None = None) -> None:
    benchmark("scores", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
