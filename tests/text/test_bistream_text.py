"""Arriving text as runs of ids: the ids of the whole text however it was cut, and ends where a run should end."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.bistream_text import utterances
from mamtra.text.bpe import BpeConfig, BpeFrontend, build_qwen_tokenizer
from mamtra.text.incremental import settled_parts
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE
from tests.text.test_bpe import UNITS
from tests.text.test_incremental import cut

TEXT = (
    'On May 5, 2024, Dr. Smith paid $3.50 at 9:05 a.m. for 12 km of rope, and "that was that," he said to the others. '
    "Then the NASA people went home; Henry VIII stayed in St. Paul until 1999. It rained for 3/4 of an hour and nobody spoke."
)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "vocab.json").write_text(json.dumps({unit: i for i, unit in enumerate([*UNITS, "Ġt", "he"])}))
    (folder / "merges.txt").write_text("#version: 0.2\nĠ t\nh e\n")
    return BpeFrontend(build_qwen_tokenizer(folder), BpeConfig(fewest_tokens=1000, longest_tokens=2000))


def spoken(parts, front):
    return [(list(u), u.take_text(), u.pause_before) for u in utterances(parts, front)]


@given(st.lists(st.integers(1, 30), max_size=40))
def test_parts_do_not_lose_a_letter(sizes):
    parts = cut(TEXT, sizes)
    assert "".join(part.text for part in settled_parts(parts)) == TEXT
    assert [part.text.strip()[-7:] for part in settled_parts(parts) if part.ends] == ["others.", "l 1999.", " spoke."]


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_ids_are_those_of_the_whole_text(front, size):
    parts = [TEXT[i : i + size] for i in range(0, len(TEXT), size)]
    [(ids, text, pause)] = spoken(parts, front)
    assert text == front.normalize(TEXT) and ids == front.encode(text) and pause == 0.0


def test_words_come_out_before_their_sentence_ends():
    taken = []

    def arriving():
        for word in ["the", "cat", "sat", "on", "5", "mats", "and", "then", "it", "went", "away"]:
            taken.append(word)
            yield word + " "

    parts = settled_parts(arriving())
    assert next(parts).text == "the" and taken == ["the", "cat"]
    assert [next(parts).text for _ in range(2)] == [" cat", " sat"]
    assert next(parts).text == " on 5 mats" and taken[-1] == "and"


def test_scripts_without_spaces_come_by_clauses():
    assert [part.text for part in settled_parts(["今天天气很", "好，我们去公园。", "好"])] == [
        "今天天气很好，",
        "我们去公园。",
        "好",
    ]


def test_runs_end_at_sentences_pauses_and_paragraphs(front):
    short = BpeFrontend(front._tokenizer, BpeConfig(fewest_tokens=30, longest_tokens=80))
    runs = spoken(["Seven small ships sail south. ", "Two stay. Nine went! More\n\nthen [pause:2s] end"], short)
    assert [text for _, text, _ in runs] == [
        "Seven small ships sail south. Two stay.",
        "Nine went! More.",
        "then.",
        "end.",
    ]
    assert [pause for *_, pause in runs] == [0.0, SENTENCE_PAUSE, PARAGRAPH_PAUSE, 2.0]
    again = spoken(["Seven small ships sail south.\n", "\nTwo stay."], short)
    assert [pause for *_, pause in again] == [0.0, PARAGRAPH_PAUSE]
    endless = spoken(["word " * 100], short)
    assert len(endless) > 5 and all(len(ids) <= 80 for ids, *_ in endless)
    assert sum(len(re.findall("word", text)) for _, text, _ in endless) == 100


def test_an_utterance_can_be_read_again(front):
    utterance = next(utterances(iter(["the cat sat ", "on the mat"]), front))
    first = iter(utterance)
    begun = [next(first) for _ in range(2)]
    again = list(utterance)
    assert again[:2] == begun and utterance.take_text() == "the cat sat on the mat." and utterance.take_text() == ""
    assert list(utterance) == again


def test_nothing_and_nonsense(front):
    assert spoken(["... ", "— \n"], front) == [] and spoken([], front) == []
    with pytest.raises(MamTraError, match="is not a pause"):
        spoken(["Well [pause:soon] then"], front)
