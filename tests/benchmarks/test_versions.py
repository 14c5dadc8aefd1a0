"""The page of several versions, from rows that are judged already."""

import json

import pytest
from versions import LENGTHS, SENTENCES, by_length, collected, compared, other_parts
from vocoders import OTHERS


def row(number, errors, mos=4.0):
    return {"id": f"line{number:04d}", "errors": errors, "words": 10, "mos": mos}


def test_texts_are_grouped_by_their_number_of_words():
    words = {"line0001": 4, "line0002": 5, "line0003": 62}
    found = by_length([row(1, 0), row(2, 1), row(3, 2)], words)
    assert [(one["most"], one["utterances"], one["wer"]["value"]) for one in found] == [
        (4, 1, 0),
        (12, 1, 10),
        (62, 1, 20),
    ]


def test_changes_are_those_of_the_same_lines():
    judged = {"a": {SENTENCES: [row(1, 1), row(2, 0)]}, "b": {SENTENCES: [row(1, 0), row(2, 0)], LENGTHS: [row(1, 0)]}}
    found = compared(judged)
    assert list(found) == ["b"] and list(found["b"]) == [SENTENCES]
    assert found["b"][SENTENCES]["wer"]["value"] == pytest.approx(-5)


def test_the_other_voices_count_once_all_of_them_are_judged(tmp_path):
    (tmp_path / "nora.jsonl").write_text(json.dumps(row(1, 0)) + "\n")
    assert collected(tmp_path, OTHERS, ["nora", "owen"]) == []
    (tmp_path / "owen.jsonl").write_text(json.dumps(row(1, 2)) + "\n")
    assert [one["errors"] for one in collected(tmp_path, OTHERS, ["nora", "owen"])] == [0, 2]


def test_of_later_versions_the_parts_that_are_others_are_told():
    weights = {"a": {"lm": "1" * 64, "flow": "2" * 64}, "b": {"lm": "1" * 64, "flow": "3" * 64}, "c": {"lm": "1" * 64}}
    ones, twos, threes = (f"`{digit * 12}`" for digit in "123")
    assert other_parts(weights) == [f"a: lm {ones}, flow {twos}", f"b: flow {threes}", "c: those of a"]
