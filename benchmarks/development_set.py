"""The 300 sentences that the embedded voice is developed with, as one set: what `--text development.tsv` of other benchmarks is.

    python benchmarks/development_set.py --text DIR --out development.tsv

150 sentences of nine kinds (dev_sentences.tsv), the package's plain ones, Harvard sentences, the development half of lists.tsv, and
46 of CMU ARCTIC. DIR holds dev_sentences.tsv (id, category, text, spoken), harvard_sentences.txt and cmuarctic.txt. Columns of what
is written: id, category, text, spoken.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from lists import read_lists

from mamtra.evaluate.sentences import read_sentences
from mamtra.runtime.files import write_text

ARCTIC = 46
COLUMNS = ("id", "category", "text", "spoken")


def rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """Rows of the set."""
    with (folder / "dev_sentences.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield tuple(row[name] for name in COLUMNS)
    arctic = read_sentences(folder / "cmuarctic.txt")
    plain = {
        "plain_set": read_sentences(),
        "harvard": read_sentences(folder / "harvard_sentences.txt"),
        "list": [row["text"] for row in read_lists("dev")],
        "arctic": arctic[:: len(arctic) // ARCTIC][:ARCTIC],
    }
    for category, texts in plain.items():
        for number, text in enumerate(texts, 1):
            yield f"{category}-{number:03d}", category, text, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="folder of the sentences")
    parser.add_argument("--out", type=Path, required=True, help="TSV to write")
    args = parser.parse_args()
    lines = ["\t".join(row) for row in (COLUMNS, *rows(args.text))]
    write_text(args.out, "\n".join(lines) + "\n")
    print(f"{len(lines) - 1} sentences -> {args.out}")


if __name__ == "__main__":
    main()
