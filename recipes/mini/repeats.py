"""Sentences in which words come again or sound alike: lists, counting, "first, then", "one by one", dialogue, questions.

A language model that has hardly read any loses its place in them: its attention jumps to another occurrence of a word. The
frames are filled with common words of the books, with words that begin or end alike, and with sentences of the books.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

NUMBERS = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "twenty", "thirty", "forty", "fifty",
]  # fmt: skip
PEOPLE = ["he", "she", "they", "we", "you", "I"]
NAMES = [
    "Anna", "Peter", "Helen", "Robert", "Clara", "Samuel", "Julia", "Martin", "Emma", "Walter", "Rosa", "Victor", "Edith",
    "Leon", "Nora", "Oscar",
]  # fmt: skip
ENDINGS = ".....!?"
FRAMES = Path(__file__).with_name("repeats.txt").read_text(encoding="utf-8").splitlines()
"""A is a word; S one like the last A or S; R one of the A, S, N, M so far, again; N a number; P a pronoun; M a name."""


class Words:
    """Common words of the lines, and for each those that begin or end like it.

    Args:
        lines: sentences.
        most: how many words.
    """

    def __init__(self, lines: Iterable[str], most: int = 6000) -> None:
        found = Counter(
            word for line in lines for word in (w.strip(".,;:!?\"'()") for w in line.split()) if word.isalpha()
        )
        self.common = [word for word, _ in found.most_common() if word.islower() and len(word) > 2][:most]
        self.alike: dict[str, list[str]] = {}
        for word in self.common:
            for key in self.keys(word):
                self.alike.setdefault(key, []).append(word)

    @staticmethod
    def keys(word: str) -> tuple[str, ...]:
        return (word[:3] + "-", "-" + word[-4:], word[:2] + "-" + word[-1:])

    def one(self, rng: random.Random) -> str:
        """A word; the more common, the more often."""
        return self.common[int(len(self.common) * rng.random() ** 2.5)]

    def like(self, word: str, rng: random.Random) -> str:
        """Another word that begins or ends like this one, if there is any."""
        near = [other for other in self.alike.get(rng.choice(self.keys(word)), ()) if other != word]
        return rng.choice(near) if near else self.one(rng)


def fill(frame: str, words: Words, rng: random.Random) -> str:
    """A frame with words in the places of its letters."""
    used: list[str] = []
    out, person = [], rng.choice(PEOPLE)
    for token in frame.split():
        core = token.strip('".,;:!?')
        new = core
        if core in ("A", "S"):
            new = words.like(used[-1], rng) if core == "S" and used else words.one(rng)
            used.append(new)
        elif core == "R" and used:
            new = rng.choice(used)
        elif core in ("N", "M"):
            new = rng.choice(NUMBERS if core == "N" else NAMES)
            used.append(new)
        elif core == "P":
            new = person if rng.random() < 0.7 else rng.choice(PEOPLE)
        out.append(token.replace(core, new, 1) if core else token)
    text = " ".join(out)
    start = 1 if text.startswith('"') else 0
    return text[:start] + text[start].upper() + text[start + 1 :]


def again(line: str, rng: random.Random) -> str:
    """A sentence of a book in which a word, a phrase or all of it comes again."""
    words = line.strip("\"' ").split()
    way = rng.randrange(5)
    if way == 0:  # a word twice or three times, with commas
        at = rng.randrange(len(words))
        bare = words[at].strip('".,;:!?()')
        words[at:at] = [f"{bare},"] * rng.randint(1, 3)
    elif way == 1:  # a phrase again
        at, size = rng.randrange(len(words)), rng.randint(2, 6)
        phrase = " ".join(words[at : at + size]).rstrip(",;:.!?")
        words[at:at] = [phrase + ","] * rng.randint(1, 2)
    elif way == 2:  # all of it again
        words = words + words
    elif way == 3:  # "and" between two of a kind
        at = rng.randrange(len(words))
        bare = words[at].strip('".,;:!?()')
        words[at:at] = [bare, "and"] * rng.randint(1, 2)
    else:  # an earlier phrase at the end
        at, size = rng.randrange(len(words)), rng.randint(2, 7)
        words[-1] = words[-1].rstrip(".!?;:,") + ","
        words += [*words[at : at + size]]
        words[-1] = words[-1].rstrip(".!?;:,") + rng.choice(ENDINGS)
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def repeats(lines: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """`count` sentences: two thirds of frames, a third of changed sentences of the books.

    Args:
        lines: sentences of the books.
        count: how many.
        rng: what is drawn with.
    """
    words, short = Words(lines), [line for line in lines if 3 <= len(line.split()) <= 14]
    made = []
    for _ in range(count):
        if rng.random() < 1 / 3:
            made.append(again(rng.choice(short), rng))
            continue
        text = fill(rng.choice(FRAMES), words, rng)
        while rng.random() < 0.25 and len(text) < 120:  # two of them in a row
            text += " " + fill(rng.choice(FRAMES), words, rng)
        made.append(text)
    return made
