"""Sentences of a text, whole or still arriving: where they end, and that nothing is lost on the way."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.incremental import sentences, settled_parts
from mamtra.text.sentence_ends import LONGEST_SENTENCE

MARK = "|"
SPLIT = [
    "Hello there. | How are you? | Fine!",
    "Dr. Ames left at 5 p.m. on Monday. | Did she return? | No.",
    "While Dr. Perry was performing it, Mrs. Lee and Prof. He waited. | So Dr. Grant and I left.",
    "Then St. Peter said no. | When Dr. Smith said yes, it was done.",
    "He lives at 5 Elm St. | The house is old.",
    "Meet me on Baker St., London, or at 12 Park Ave. NW tonight.",
    "Add ½ tsp. salt, 1 qt. milk and 2 Tbsp. Sugar.",
    "She has a B.Sc. and a Ph.D. in physics; he has an LL.D. from Yale. | They met in 1999. | It rained.",
    "The house of c. 1850 is ca. 12 km away, cf. p. 5 and pp. 7, i.e. far. | See Fig. 3 and No. 7, vol. II.",
    "Smith vs. Jones, a.k.a. Roe v. Wade, began at 5 p.m. Monday. | It ended at 6 p.m. | He left.",
    "J. R. R. Tolkien met John F. Kennedy and Paul L. Bentley. | George R. R. Martin did not.",
    "The U.S. Army paid $3.50, 5.5 percent. | Pi is 3.14159. | That is all.",
    "Open http://example.com/slash?foo=bar.html or README.md. | Write to a.b@example.co.uk. | See https://x.org/?q=1!",
    "Is it on example.com? | Yes, on example.com.",
    '"Stop!" he said. | "Go now." | She left. | (It was closed.) | Nobody came.',
    "\"I know,\" he said. | \"You know.\" | 'Never.' | 'Don't.' | He went.",
    "Well... maybe. | Wait... | What? | And so on… | Then nothing.",
    "What! did you pick her up? yes. | He asked R. Hawkins, T. A. Hutson and C. T. Walker.",
    "What?! | No way!!! | Really?? | Yes.",
    "Bread, milk, etc. and so on. | Bread, etc. | Peter came.",
    "Her father, James II. was there. | He said no. | No. 5 and No. IV are alive. | No. | I am. | I said no. | Peter left.",
    "1. Open the door. | 2. Go in. | The answer is 12. | Right.",
    "King Jr. Day is near. | He works for Acme Inc. | It is big. | He works for Acme Inc. Sales rose.",
    "The beam is 5 ft. 3 in. long. | It is old. | They cost 5 lbs. | But why?",
    "He gave up . . . and left. | He gave up. | . . . | Then he left.",
    "今天天气很好。| 我们去公园！”| 好吗？",
    "Chapter One\n| It was a dark night.",
    "# A heading of any length that goes on and on, longer than a line of verse is\n| The text begins.",
    "Name: Ann\n| Age: 31\n| City: Oslo",
    "Buy these:\n| * milk\n| * eggs\n| - bread\n| 1. Wash it\n| 2. Peel it",
    "Tyger Tyger, burning bright,\nIn the forests of the night\n| What immortal hand or eye",
    "The committee that met on Tuesday decided that the bridge over the\nRiver should be repaired. | It had been closed for\n"
    "New Year, and the people who lived there had asked\nMr. Smith for help.",
    "Hello\nthere, and\nPeter.",
    "One\n\n| Two\r\n\r\n| three",
    "A line of text that is as long as lines of running text are when wrapped. | Then\nPeter came.",
    "**Bold.** | Then _it ends._ | Next.",
]


def wanted(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.split(MARK)]


def plain(text: str) -> str:
    return text.replace(" |", "").replace("\n|", "\n").replace(MARK, "")


@pytest.mark.parametrize("text", SPLIT)
def test_sentences(text):
    assert [sentence.strip() for sentence in sentences([plain(text)])] == wanted(text)


def cut(text: str, sizes: list[int]) -> list[str]:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return [*parts, text[at:]]


WORDS = "...~word~Word~Word ~Tolkien~Dr.~p.m.~He~He ~the~U.S.~J.~1.~etc.~No.~vs.~x.com~. ~? ~\n~\n\n~\r\n~  ~”~。"
PIECES = st.sampled_from([*WORDS.split("~"), *"a5.,:-\"')(#?!* "])
TEXTS = st.one_of(st.lists(PIECES, max_size=60).map("".join), st.text(max_size=60))


@settings(max_examples=400)
@given(TEXTS, st.lists(st.integers(0, 9), max_size=40))
def test_arriving_text_gives_the_sentences_of_the_whole_and_loses_nothing(text, sizes):
    whole = list(sentences([text]))
    assert "".join(whole) == text and all(whole)
    assert list(sentences(cut(text, sizes))) == whole
    assert "".join(part.text for part in settled_parts(cut(text, sizes))) == text


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_the_same_for_text_without_an_end(seed):
    choice = random.Random(seed)
    text = "".join(
        choice.choice(["word ", "Mr. ", ", ", "; ", " " * 90, "x" * 90, "Mr. p.m. ", "\n"]) for _ in range(300)
    )
    whole = list(sentences([text]))
    assert "".join(whole) == text and max(map(len, whole)) <= LONGEST_SENTENCE
    parts = cut(text, [choice.randint(0, 400) for _ in range(60)])
    assert list(sentences(parts)) == whole


def test_no_character_makes_a_sentence_vanish():
    for char in "☝♬♭♦♨∮∯☄☇☈☉\u2028\u00a0\u200b\ufeff":
        text = f"One{char} cat. Two {char} cats{char}. Three."
        assert "".join(sentences([text])) == text


def test_a_sentence_comes_out_as_soon_as_the_next_word_could_begin():
    taken = []

    def arriving():
        for part in ["Hel", "lo the", "re. ", "How", " are you"]:
            taken.append(part)
            yield part

    pieces = sentences(arriving())
    assert next(pieces) == "Hello there."
    assert taken == ["Hel", "lo the", "re. "]
    assert list(pieces) == [" How are you"]


def test_endless_text_is_cut_at_its_strongest_marks():
    found = list(sentences(["a word, and another; " * 100]))
    assert all(sentence.endswith(";") and len(sentence) <= LONGEST_SENTENCE for sentence in found[:-1])
    assert [len(s) for s in sentences(["x" * 2500])] == [1000, 1000, 500]


def test_white_space_holds_no_sentence():
    assert "".join(sentences([" ", "\n", "  "])).strip() == "" and list(sentences(["", ""])) == []


def test_parts_have_to_be_strings():
    for parts in ([b"Hello."], [None], [1]):
        with pytest.raises(MamTraError, match="has to come as strings"):
            list(sentences(parts))


def test_eight_threads_lose_nothing():
    text = " ".join(f"Dr. Smith counted {n} boats at 5 p.m. and left. Did he? No!" for n in range(200))
    whole = list(sentences([text]))
    assert len(whole) == 600
    with ThreadPoolExecutor(8) as pool:
        assert all(found == whole for found in pool.map(lambda _: list(sentences([text])), range(64)))
