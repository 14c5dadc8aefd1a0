"""What the source voice reads: books, short phrases, numbers, rare words, words alone and woven text, as phoneme strings.

    python texts.py --text DIR --model src/mamtra/assets/mini --out texts.tsv [--woven N] [--seed 0]

Woven sentences are sampled from a bigram model of the books: they have no meaning, but the sounds, lengths and punctuation of
English, in any number. They come last in the file.

DIR holds `libritts_train_clean_100.txt` and `ljspeech.txt` (one utterance a line); the text is phonemised with the front
end of the model directory, so that training and synthesis use the same phonemes. Writes `source<TAB>phonemes` lines, shuffled.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.frontend import LEXICON_FILE, TextFrontend

BOOKS = ("libritts_train_clean_100", "ljspeech")
MAX_PHONEMES = 330  # about 20 s of speech
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
UNITS = [
    "miles",
    "pounds",
    "gallons",
    "degrees",
    "percent",
    "kilometers",
    "inches",
    "ounces",
    "seconds",
    "watts",
    "people",
    "pages",
]
SHORT = (
    "Hello.", "Hello there.", "Good morning.", "Thank you.", "Thank you very much.", "Yes.", "No.", "Maybe.", "Why?",
    "How are you?", "What time is it?", "I don't know.", "See you soon.", "Of course.", "Never mind.", "Come in!",
    "Look out!", "Not today.", "Okay.", "Sure.", "Really?", "Goodbye.", "Excuse me.", "Sorry about that.",
    "Welcome home.", "Let's go.", "Wait a minute.", "That's right.", "Nice to meet you.", "Happy birthday!",
)  # fmt: skip
FRAMES = (
    "The {}, the {} and the {}.", "{} and {}, or {}?", "She wrote {}, {} and {} on the board.", "Is it {} or {}, {} or {}?",
    "He said {}, not {}.", "We talked about {} and {}.", "Nobody mentioned {}, {}, {} or {}.", "My {} needs a new {}.",
    "I read an article on {} and another on {}.", "{}: that is how you spell {}.",
)  # fmt: skip
SOUNDS = (
    "Oh", "Ah", "Aw", "Uh", "Hm", "Mm", "Eh", "Er", "Ow", "Oi", "Ooh", "Ouch", "Hey", "Hi", "Yeah", "No", "Yes", "Why",
    "What", "Who", "How", "Are", "Eye", "Go", "Stop", "You", "Me", "He", "She", "It", "In", "Off",
)  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENDINGS = ("", ".", ".", "!", "?", ",")


def alone(rng: random.Random, words: list[str]) -> Iterator[str]:
    """Letters, numbers and words that are said alone, and abbreviations said as letters."""
    for text in (*LETTERS, *map(str, range(31)), *SOUNDS):
        yield from (text + ending for ending in ENDINGS)
    for word in rng.sample(words, 1200):
        yield word.capitalize() + rng.choice(ENDINGS)
    for _ in range(800):
        yield "".join(rng.choices(LETTERS, k=rng.randint(2, 5))) + rng.choice(ENDINGS)


def figures(rng: random.Random) -> str:
    """A random sentence with numbers, dates, sums of money, letters or addresses, in written form."""
    month, day, year = rng.choice(MONTHS), rng.randint(1, 28), rng.randint(1500, 2040)
    digits = "".join(str(rng.randint(0, 9)) for _ in range(4))
    letters = "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 4)))
    name = rng.choice(("anna", "info", "sales", "robert", "helen", "peter", "contact", "library", "billing", "emma"))
    site = rng.choice(("museum", "school", "garden", "weather", "station", "market", "harbor", "recipes", "travel"))
    unit, hour = rng.choice(UNITS), rng.randint(1, 12)
    n = rng.choice((rng.randint(2, 99), rng.randint(100, 9999), rng.randint(10_000, 999_999)))
    top = rng.choice(("com", "org", "net", "edu"))
    return rng.choice((
        f"The meeting is on {rng.choice(DAYS)}, {month} {day}, {year}.",
        f"It happened on {month} {day}th, {year}.",
        f"The total comes to ${rng.randint(1, 900)}.{rng.randint(1, 99):02d}.",
        f"They paid ${n:,} for it in {year}.",
        f"The train leaves at {hour}:{rng.randint(1, 59):02d} {rng.choice(('a.m.', 'p.m.'))}",
        f"Call {rng.randint(200, 999)}-555-{digits} for details.",
        f"About {n:,} {unit} were counted.",
        f"It grew by {rng.randint(1, 99)}.{rng.randint(0, 99)} {unit} in {rng.randint(2, 90)} days.",
        f"Room {rng.randint(100, 999)} is on floor {rng.randint(1, 40)}, gate {rng.choice('ABCDEFGH')}{rng.randint(1, 40)}.",
        f"The {letters} was founded in {year}.",
        f"Please spell it: {', '.join(letters)}.",
        f"Write to {name}_{site}@example.{top}.",
        f"Write to {name}@{site}.{top}, please.",
        f"Visit www.{site}.{top}/{name} today.",
        f"That is {rng.randint(1, 99)} plus {rng.randint(1, 99)}, which makes {n}.",
        f"Chapter {rng.randint(1, 60)}, page {rng.randint(1, 900)}, line {rng.randint(1, 60)}.",
        f"The score was {rng.randint(0, 120)} to {rng.randint(0, 120)} in the {rng.choice(ORDINALS)} round.",
        f"Add {rng.randint(1, 9)} {rng.choice(('cups', 'spoons', 'pounds', 'slices'))} and wait {rng.randint(2, 59)} minutes.",
        f"Flight {rng.randint(10, 9999)} to {rng.choice(('Chicago', 'Boston', 'London', 'Madrid', 'Tokyo', 'Berlin'))} is delayed.",
        f"The zip code is {rng.randint(10_000, 99_999)}, the code is {' '.join(digits)}.",
        f"{rng.randint(2, 19)}% of {n:,} is what Dr. {rng.choice(('Lane', 'Ortiz', 'Novak', 'Meyer', 'Singh', 'Brown'))} wrote.",
    ))  # fmt: skip


class Weaver:
    """Sentences sampled word by word: each word follows its predecessor somewhere in the lines.

    Args:
        lines: sentences; words are separated by spaces and keep their punctuation.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.starts: list[str] = []
        self.next: dict[str, list[str]] = {}
        for line in lines:
            words = line.split()
            if len(words) > 2 and words[0][:1].isupper():
                self.starts.append(words[0])
            for one, two in pairwise(words):
                self.next.setdefault(one, []).append(two)

    def weave(self, rng: random.Random, longest: int = 34) -> str:
        """One sentence, up to a word that ends a sentence or, after `longest` words, a full stop."""
        words = [rng.choice(self.starts)]
        while len(words) < longest and words[-1] in self.next and not words[-1].endswith((".", "?", "!")):
            words.append(rng.choice(self.next[words[-1]]))
        return " ".join(words).rstrip(",;:-") + ("" if words[-1].endswith((".", "?", "!")) else ".")


def spoken(text: str, front: TextFrontend) -> list[str]:
    """Phonemes of each segment; empty if the text has nothing to pronounce."""
    try:
        return [front.tokenizer.decode(segment.ids) for segment in front.segments(text)]
    except MamTraError:
        return []


def sentences(folder: Path, front: TextFrontend, words: list[str], seed: int) -> Iterator[tuple[str, str]]:
    """Yields (source, phonemes)."""
    rng = random.Random(seed)
    for name in BOOKS:
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            parts = spoken(line, front)
            yield from ((name, part) for part in parts)
            if len(parts) > 1 and rng.random() < 0.25:
                yield name, " ".join(parts)
            tokens = line.strip("\"' ").split()
            if len(tokens) > 8 and rng.random() < 0.12:  # short phrases are rare in books but common in use
                start = rng.randrange(len(tokens) - 5)
                phrase = " ".join(tokens[start : start + rng.randint(1, 4)]).strip(",;:.-\"'()?!")
                if phrase:
                    ending = rng.choice(".....!?")
                    yield "phrases", " ".join(spoken(phrase[0].upper() + phrase[1:] + ending, front))
    for text in SHORT * 6:
        yield "phrases", " ".join(spoken(text, front))
    for text in alone(rng, words):
        yield "alone", " ".join(spoken(text, front))
    for _ in range(6000):
        yield "figures", " ".join(spoken(figures(rng), front))
    for _ in range(9000):
        frame = rng.choice(FRAMES)
        text = frame.format(*rng.sample(words, frame.count("{}")))
        yield "rare_words", " ".join(spoken(text[0].upper() + text[1:], front))


def woven(folder: Path, front: TextFrontend, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yields (source, phonemes) of `count` woven sentences."""
    rng = random.Random(seed + 1)
    lines = [line for name in BOOKS for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
    weaver = Weaver(line.translate(str.maketrans("", "", '"“”()[]')) for line in lines)
    for _ in range(count):
        yield from (("woven", part) for part in spoken(weaver.weave(rng), front))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="folder of the text files")
    parser.add_argument("--model", type=Path, required=True, help="model directory whose text front end is used")
    parser.add_argument("--out", type=Path, required=True, help="TSV to write")
    parser.add_argument("--woven", type=int, default=120_000, help="number of woven sentences to add")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    front = TextFrontend.load(args.model)
    words = [word for word, _ in Lexicon.load(args.model / LEXICON_FILE).words() if word.isalpha() and len(word) > 3]
    rows = [row for row in sentences(args.text, front, words, args.seed) if 1 < len(row[1]) <= MAX_PHONEMES]
    rows = list(dict.fromkeys(rows)) + [row for row in rows if row[0] == "phrases"][:180]
    random.Random(args.seed).shuffle(rows)
    rows += [row for row in woven(args.text, front, args.woven, args.seed) if 2 < len(row[1]) <= MAX_PHONEMES]
    write_text(args.out, "".join(f"{source}\t{phonemes}\n" for source, phonemes in rows))
    print(f"{len(rows)} utterances, {sum(len(p) for _, p in rows)} phoneme symbols -> {args.out}")


if __name__ == "__main__":
    main()
