"""The comparison of the two runtimes: word error rates over common sentences, resumed transcripts, and the picture."""

from __future__ import annotations

import types

import numpy as np
import pytest
import runtime
import runtime_words
from runtime_words import WAYS, compare, read_sentences, transcribe


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "set.tsv"
    path.write_text("id\ttext\tspoken\na\tThe dog sleeps here.\tthe dog sleeps here\nb\t2\ttwo\nc\tYes\tyes\n")
    return read_sentences(path, 2)


def test_only_sentences_of_all_count(sentences):
    assert list(sentences) == ["a", "b"]
    heard = {way: {"a": "the dog sleeps here", "b": "two"} for way in WAYS}
    heard["onnx"] = {"a": "the dog sleeps there now"}
    found = compare(sentences, heard)
    assert found["sentences"] == 1 and found["wer"]["torch"][0] == 0
    assert found["wer"]["onnx"][0] == 50 == found["differences"]["onnx"][0] and "torch" not in found["differences"]


def test_what_was_heard_is_kept(tmp_path, sentences, monkeypatch):
    said = []

    def load(**options):
        def say(text, voice, seed):
            said.append((text, options))
            return types.SimpleNamespace(samples=np.zeros(9), sample_rate=24000)

        return types.SimpleNamespace(say=say)

    monkeypatch.setattr(runtime_words, "load", load)
    heard = transcribe(sentences, "clara", tmp_path / "work", lambda *_: "words", 100)
    assert heard == {way: {"a": "words", "b": "words"} for way in WAYS} and len(said) == 2 * len(WAYS)
    assert transcribe(sentences, "clara", tmp_path / "work", lambda *_: "others", 100) == heard
    assert len(said) == 2 * len(WAYS)
    nothing = transcribe(sentences, "clara", tmp_path / "other", lambda *_: "words", -1)
    assert nothing == {way: {} for way in WAYS}


def test_the_picture_shows_hundredths():
    parts = dict(zip(runtime.STAGES, (0.02, 0.031, 0.0), strict=True))
    assert runtime.bars({"onnx": parts}).splitlines()[1] == "onnx ▓▓▒▒▒"


def test_a_measurement_goes_on_where_it_ended(tmp_path, monkeypatch):
    """With --resume parts of the file stay, and the page has those that are there."""
    made, out = [], tmp_path / "runtime.json"

    def part(name, found):
        return lambda *_: made.append(name) or found

    speeds = {"onnx": {"rtf": 0.1, "rtf cpu": 0.2, "first": 0.08, "first cpu": 0.09}}
    monkeypatch.setattr(runtime, "fresh", part("fresh", {"onnx": {"cpu": 1.0, "wall": 0.8, "mebibytes": 150.0}}))
    monkeypatch.setattr(runtime, "warm", part("warm", speeds))
    monkeypatch.setattr(runtime, "stages", lambda *_: 1 / 0)
    monkeypatch.setattr(runtime, "steps", part("steps", {"int8": {str(rows): 2.0 for rows in runtime.ROWS}}))
    with pytest.raises(ZeroDivisionError):
        runtime.main(["--out", str(out)])
    page = out.with_suffix(".md").read_text()
    assert made == ["fresh", "warm"] and "| onnx | 0.100 | 0.200 | 80 | 90 |" in page and "With one core" not in page
    monkeypatch.setattr(runtime, "stages", part("stages", {"onnx": dict.fromkeys(runtime.STAGES, 0.05)}))
    runtime.main(["--out", str(out), "--resume"])
    page = out.with_suffix(".md").read_text()
    assert (
        made[2:] == ["stages", "steps", "warm"] and "## With one core" in page and "## A step of the language" in page
    )
