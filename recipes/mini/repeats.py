"""Sentences in which words come again or sound alike: lists, counting, "first, then", "one by one", dialogue, questions.

A language model that has hardly read any loses its place in them: its attention jumps to another occurrence of a word. The
frames are filled with common words of the books, with words that begin or end alike, and with sentences of the books.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty thirty forty fifty".split()
)
PEOPLE = "he she they we you I".split()
NAMES = "Anna Peter Helen Robert Clara Samuel Julia Martin Emma Walter Rosa Victor Edith Leon Nora Oscar".split()
ENDINGS = ".....!?"
# A: a word, each other than the others of its sentence; S: sounds like the last A or S; R: one of the A and S so far, again;
# N: a number; P: he, she ...; M: a name
FRAMES = """
A, R, R.|A, R, R A.|A and R and R A A.|A A A, R, R, R A.|It was A, R, R A.|P A and R and R until P A.|No, no, A, R, no.|A! R! R!
Oh, A, R, A.|The A A, R, R, and A.|Very, very A, and A.|So A, so A, so R.|Again and again P A the A.|A, A, A, R, R, R.|A A, R R, A.
A or A or A or A.|Was it A or A or A?|Is P A or R A or A A?|P may A by A or by A or by A.|No A or A or A or A can A this A.|Either A, A or A.
A by R.|R by A and A by R.|P A A by R, A by A.|A by A the A A.|From A to A, from A to A, from A to R.|A to A, R to R.|A after A P A.
First A it, then A it, then A it.|First A, then A, and then A.|Then P A, then P R, then P A again.|A it, A it, and A it.|A the A, then R the A.
First the A, then the A, then the A, and last the A.|A up, A up, A down.|Turn A, then A, then A again.|P A it A, A it A, and A it A.
Every A, every A and every A was A.|Each A, each A and each S A.|My A, my A and my A A.|Some A A, some A R, and some A A.|All the A, all the A and all R A.
A A, A R and A A.|The A A, the A S and the A A were A.|The R A A the S A and the A A.|A A of A, a A of A and a A of A.|This A, that A, this R, that S.
Not A, not A, but A.|Neither the A nor the A nor the A A.|P did not A, not R, not S.|Without A, without A and without A P A.|With no A, no A and no A P A.
P had no A, no A and no A.|It is not the A, not the R A, but the S.|I do not A what, A, A or why.|Nobody, nobody A, and nothing A.
A A or A S.|A A and S A.|P A a A A S A.|The A S A A.|A, S, S and A.|It is a A or S A.|P A of A or S A.|The S of A S is A.|A S, S A.|A A S A S A.
N, N, N, N, N.|N N, N N, N R.|The A is N, N, N, N.|A N, then N, then R, then N.|N and N are N, and N and R are N.|N A, N A, N S.|N A and N A and N A.
A, A, A, A and A.|P A A, A, A, A and A.|The A is A, A, A and A.|A: A, A, A, A, A.|We A A, S, A, A and R.|Bring A, A, A, and A, please.|A, A; A, R; A, S.
A and A and A and A.|P A and A and A and R again.|There was A and A and A and A.|It was A and A and R and A and long.|A and R, A and S.
What P A is not what P A.|The more P A, the more P A, and the more P R.|If it A, it R, and if it does not, it does not.|A will be A and S will be S.
P A, P A, P A, and P R.|A is A, and A is A, but R is never A.|P that A A, and P that R A.|To A is to A, and to S is to A.|A of A, R of R.|As A as A, as S as A.
"A?" "A." "A?" "No, R."|"A, A," P A. "A?"|"Yes, yes," A M, "A, A."|"M!" P A. "M! M! Where are you?"|"Is it A?" "It is." "Is it R?" "It is not."|"A A A," A M. "R R R," A M.
Who A the A? Who A the S? Who, who?|Where is the A, where is the R A, and where is M?|A or not A?|P A, A P not?|Did P A the A, or did the A A P?|Why A, why R, why now?
M and M and M A.|M, M, M and M are A.|M told M, M told M, and M told me.|M A the A, M A the S, and M A R.|Come, M, come, come A.|M? M! M, A the A.
""".replace("\n", "|").strip("|").split("|")  # fmt: skip


class Words:
    """Common words of the lines, and for each those that begin or end like it.

    Args:
        lines: sentences.
        most: how many words.
    """

    def __init__(self, lines: Iterable[str], most: int = 6000) -> None:
        found = Counter(word for line in lines for word in (w.strip(".,;:!?\"'()") for w in line.split()) if word.isalpha())
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
        core = token.strip("\".,;:!?")
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
        bare = words[at].strip("\".,;:!?()")
        words[at:at] = [f"{bare},"] * rng.randint(1, 3)
    elif way == 1:  # a phrase again
        at, size = rng.randrange(len(words)), rng.randint(2, 6)
        phrase = " ".join(words[at : at + size]).rstrip(",;:.!?")
        words[at:at] = [phrase + ","] * rng.randint(1, 2)
    elif way == 2:  # all of it again
        words = words + words
    elif way == 3:  # "and" between two of a kind
        at = rng.randrange(len(words))
        bare = words[at].strip("\".,;:!?()")
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
