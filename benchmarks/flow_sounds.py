"""Kept sounds of the paired benchmarks side by side, on one page with players.

    python benchmarks/flow_sounds.py --run DIR --variants 10 4 few-2 [--lines 3] --out docs/showcase/flow.html

Shows the first lines of which every variant has a sound, as DIR/sounds/VARIANT/ID.wav or .ogg.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mamtra.evaluate import report
from mamtra.evaluate.score_file import ScoreFile, read_scores

SUFFIXES = (".wav", ".ogg")


def with_sounds(run: Path, variant: str) -> ScoreFile:
    """Scores of a variant, of the lines whose sound was kept."""
    scores, rows = read_scores(run / f"{variant}.jsonl"), {}
    for key, row in scores.rows.items():
        places = [run / "sounds" / variant / f"{row['id']}{suffix}" for suffix in SUFFIXES]
        for place in filter(Path.exists, places):
            rows[key] = {**row, "sound": str(place.resolve())}
    return ScoreFile(scores.path, scores.fingerprint, rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run folder of a benchmark")
    parser.add_argument("--variants", nargs="+", required=True)
    parser.add_argument("--lines", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    files = [with_sounds(args.run, variant) for variant in args.variants]
    keys = [key for key in files[0].rows if all(key in file.rows for file in files)][: args.lines]
    if not keys:
        raise SystemExit(f"no line has a sound of every variant in {args.run / 'sounds'}")
    print(report([ScoreFile(f.path, f.fingerprint, {key: f.rows[key] for key in keys}) for f in files], args.out))


if __name__ == "__main__":
    main()
