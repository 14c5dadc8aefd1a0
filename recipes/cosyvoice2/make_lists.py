"""Sentences of LibriTTS to choose settings on and to report, drawn with a seed: readers and texts of the two do not meet.

python make_lists.py LibriTTS/dev-clean dev.tsv --count 100
python make_lists.py LibriTTS/test-clean test.tsv --count 300
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

WORDS = range(4, 41)
"""Words of a sentence: one that is neither a fragment nor several segments long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = []
    for path in sorted(args.folder.rglob("*.normalized.txt")):
        text = " ".join(path.read_text(encoding="utf-8").split())
        if len(text.split()) in WORDS:
            found.append((path.name.removesuffix(".normalized.txt"), text))
    if len(found) < args.count:
        parser.error(
            f"{args.folder} has {len(found)} sentences of {WORDS.start} to {WORDS.stop - 1} words, not {args.count}"
        )
    chosen = sorted(random.Random(args.seed).sample(found, args.count))
    args.out.write_text("id\ttext\n" + "".join(f"{name}\t{text}\n" for name, text in chosen), encoding="utf-8")
    print(f"{args.out}: {len(chosen)} of {len(found)} sentences")


if __name__ == "__main__":
    main()
