"""Alignments, text rules, failure classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import Counts, align, count, edit_distance
from mamtra.evaluate.failure_types import bucket, failures, silence_share
from mamtra.evaluate.summary import by_length, classes, floor_of
from mamtra.evaluate.text_normalizers import normaliser, seedtts

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
words = st.lists(st.sampled_from("abc"), max_size=9)


@given(words, words)
def test_an_alignment_is_the_cheapest_and_rebuilds_both_sides(reference, hypothesis):
    steps = align(reference, hypothesis)
    found = count(reference, hypothesis)
    assert found.errors == edit_distance(reference, hypothesis)
    assert found.length == len(reference) and found.equal + found.replace + found.insert == len(hypothesis)
    assert [reference[s.reference] for s in steps if s.kind != "insert"] == reference
    assert [hypothesis[s.hypothesis] for s in steps if s.kind != "delete"] == hypothesis
    assert all(reference[s.reference] == hypothesis[s.hypothesis] for s in steps if s.kind == "equal")


def test_counts_add_up_before_they_are_divided():
    assert (Counts(equal=9, replace=1) + Counts(insert=5, delete=10)).rate == pytest.approx(100 * 16 / 20)


def test_text_rules_differ_where_they_should():
    text = "Don't  --  pay $5, Dr. Lee!"
    assert seedtts(text) == "don't  pay 5 dr lee" and seedtts("a    b") == "a  b"
    assert normaliser("basic")[0](text) == "don t pay 5 dr lee"
    assert normaliser("english")[0](text) == "do not pay $5 doctor lee".replace("$", "")
    with pytest.raises(MamTraError, match="no text rule"):
        normaliser("french")


@pytest.mark.parametrize(
    ("hypothesis", "expected"),
    [
        ("one two three four five six seven eight nine ten", []),
        ("", ["silent"]),
        ("one two three four five", ["early_stop"]),
        ("one two six seven eight nine ten", ["skipped"]),
        ("one two three four five six seven eight nine ten so they say now", ["no_stop", "inserted"]),
        ("one two three one two three four five six seven eight nine ten", ["repeated"]),
        ("one two and by the way three four five six seven eight nine ten", ["inserted"]),
        ("one too three four five six eight nine ten", []),
    ],
)
def test_failure_classes(hypothesis, expected):
    reference = [*NUMBERS]
    assert failures(reference, hypothesis.split()) == expected


def test_a_swapped_voice_stands_out():
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(i), "reference": "one", "hypothesis": "one", "similarity_to_prompt": s}
        for i, s in enumerate(rng.normal(0.7, 0.05, 40))
    ]
    rows[7]["similarity_to_prompt"] = 0.2
    floor = floor_of(rows)
    assert [row["id"] for row in rows if "wrong_voice" in classes(row, floor)] == ["7"]
    assert by_length(rows)["1-5"]["wrong_voice"] == 1
    assert floor_of(rows[:9]) == float("-inf")  # too few to tell
    assert classes({"reference": "one", "hypothesis": "one"}, floor) == []


def test_length_buckets():
    assert [bucket(n) for n in (1, 5, 6, 45, 46, 200)] == ["1-5", "1-5", "6-10", "31-45", "46+", "46+"]


def test_silence_share():
    loud = np.sin(np.arange(16000) / 5).astype(np.float32)
    assert silence_share(loud, 16000) == 0.0
    assert silence_share(np.concatenate([loud, np.zeros(16000, np.float32)]), 16000) == 0.5
    assert silence_share(np.zeros(16000, np.float32), 16000) == 1.0


def test_errors_are_those_of_jiwer():
    jiwer = pytest.importorskip("jiwer", reason="the reference for word errors")
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    references, hypotheses, total = [], [], Counts()
    for _ in range(500):
        reference = rng.choice(words, rng.integers(1, 20)).tolist()
        hypothesis: list[str] = []
        for word in reference:
            chance = rng.random()
            hypothesis += [] if chance < 0.1 else [rng.choice(words)] if chance < 0.2 else [word]
            hypothesis += [rng.choice(words)] if rng.random() < 0.08 else []
        found = count(reference, hypothesis)
        theirs = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        assert found.errors == theirs.substitutions + theirs.deletions + theirs.insertions
        references.append(" ".join(reference))
        hypotheses.append(" ".join(hypothesis))
        total += found
    assert total.rate == pytest.approx(100 * jiwer.wer(references, hypotheses))
