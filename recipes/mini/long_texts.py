"""Long texts and texts with repeated words for the language models: sentences of `repeats.py`, and running text of up to 28 s.

    python long_texts.py --text DIR --model src/mamtra/assets/mini --held-out FILE ... --out long.tsv [--count 16000] [--seed 11]

Running text is said in one go, so that the pauses between its sentences are learned: lines of a book in their order, woven
sentences, repeats, or lines and repeats in turn. A text that shares five words in a row with a line of the FILEs, or is one, is
left out: they are the sentences that models are measured with. Writes `source<TAB>phonemes` lines, shuffled.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from repeats import repeats
from texts import BOOKS, Weaver, spoken

from mamtra.runtime.files import write_text
from mamtra.text.frontend import TextFrontend

LONGEST = 460
"""Phoneme symbols of a text, about 28 s."""
SHORTEST, SHORTEST_GOAL = 80, 90
RUNNING = 0.35
"""Running texts for each sentence of repeats."""
SHARED = 5
"""Words in a row."""


class HeldOut:
    """What is not to be trained on.

    Args:
        lines: of sentences, or of fields between tabs.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        texts = [self.words(field) for line in lines for field in line.split("\t")]
        self._whole = {tuple(words) for words in texts if len(words) > 1}
        self._parts = {part for words in texts for part in self.parts(words)}

    @staticmethod
    def words(text: str) -> list[str]:
        return re.sub(r"[^a-z' ]", " ", text.lower()).split()

    @staticmethod
    def parts(words: list[str]) -> Iterable[tuple[str, ...]]:
        return (tuple(words[i : i + SHARED]) for i in range(len(words) - SHARED + 1))

    def __contains__(self, text: str) -> bool:
        words = self.words(text)
        return tuple(words) in self._whole or any(part in self._parts for part in self.parts(words))


class Reader:
    """Makes running texts.

    Args:
        lines: of the books, in their order.
        repeated: sentences with repeated words.
        held: not to be trained on.
        front: text to phonemes.
    """

    def __init__(self, lines: Sequence[str], repeated: Sequence[str], held: HeldOut, front: TextFrontend) -> None:
        self._lines, self._repeated, self._held, self._front = lines, repeated, held, front
        self._weaver = Weaver(line.translate(str.maketrans("", "", '"“”()[]')) for line in lines)

    def text(self, rng: random.Random) -> str:
        """Phonemes of one text; "" where its second sentence would have made it too long."""
        goal, at = rng.uniform(SHORTEST_GOAL, LONGEST - 5), rng.randrange(len(self._lines))
        kind, made = rng.random(), ""
        while len(made) <= goal:
            if kind < 0.5:
                one, at = self._lines[at % len(self._lines)], at + 1
            elif kind < 0.8:
                one = self._weaver.weave(rng, rng.choice((8, 14, 20, 34, 50)))
            elif kind >= 0.9 and rng.random() < 0.6:
                one = rng.choice(self._lines)
            else:
                one = rng.choice(self._repeated)
            phonemes = "" if one in self._held else " ".join(spoken(one, self._front))
            if phonemes and len(made) + len(phonemes) + 1 > LONGEST:
                break
            made = f"{made} {phonemes}".strip()
        return made if len(made) > SHORTEST else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="folder of the books, see texts.py")
    parser.add_argument("--model", type=Path, required=True, help="model directory whose text front end is used")
    parser.add_argument("--held-out", type=Path, nargs="+", required=True, help="sentences that are measured with")
    parser.add_argument("--out", type=Path, required=True, help="TSV to write")
    parser.add_argument("--count", type=int, default=16_000, help="sentences with repeated words")
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    front, rng = TextFrontend.load(args.model), random.Random(args.seed)
    lines = [line for name in BOOKS for line in (args.text / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
    held = HeldOut(line for path in args.held_out for line in path.read_text(encoding="utf-8").splitlines())
    repeated = [text for text in dict.fromkeys(repeats(lines, args.count, rng)) if text not in held]
    rows = [("repeats", " ".join(spoken(text, front))) for text in repeated]
    reader = Reader(lines, repeated, held, front)
    while len(rows) < len(repeated) + round(RUNNING * args.count):
        if text := reader.text(rng):
            rows.append(("running", text))
    rows = [row for row in rows if 2 < len(row[1]) <= LONGEST]
    rng.shuffle(rows)
    write_text(args.out, "".join(f"{source}\t{phonemes}\n" for source, phonemes in rows))
    print(f"{len(rows)} utterances, {sum(len(p) for _, p in rows)} phoneme symbols -> {args.out}")


if __name__ == "__main__":
    main()
