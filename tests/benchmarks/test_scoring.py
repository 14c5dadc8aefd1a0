import json

import pytest
import scoring

from tests.factories import reference

STAMP = {"asr": "stub"}


@pytest.fixture
def rows(tmp_path):
    return [(name, reference(tmp_path / f"{name}.wav", 1.0 + i), "Good morning.") for i, name in enumerate("ab")]


class Stub:
    """A transcriber that counts its calls."""

    def __init__(self, text="good morning"):
        self.text, self.lengths = text, []

    def __call__(self, wave):
        self.lengths.append(len(wave))
        return self.text


def run(rows, out, stub, judge=None, stamp=STAMP):
    return list(scoring.score(rows, out, stub, str.lower, judge, stamp))


def test_each_file_is_heard_at_16_khz_and_kept(rows, tmp_path):
    stub, out = Stub("Good, morning!"), tmp_path / "deep" / "scores.jsonl"
    items = run(rows, out, stub, judge=lambda wave: len(wave) / 16000)
    assert stub.lengths == [16000, 32000]
    assert [item["distillmos"] for item in items] == [item["seconds"] for item in items] == [1.0, 2.0]
    assert all(item["hypothesis"] == item["reference"] == "good morning" for item in items)
    assert list(scoring.read_scores(out).values()) == items


def test_only_what_has_changed_is_heard_again(rows, tmp_path):
    out = tmp_path / "scores.jsonl"
    run(rows, out, Stub())
    again = Stub("something else")
    assert run(rows, out, again)[0]["hypothesis"] == "good morning" and again.lengths == []
    reference(rows[1][1], 3.0)
    run(rows, out, again)
    assert again.lengths == [48000]
    other = Stub()
    run([(rows[0][0], rows[0][1], "Another text."), rows[1]], out, other)
    assert other.lengths == [16000]
    run(rows[:1], out, Stub(), stamp={"asr": "another"})
    assert set(scoring.read_scores(out)) == {"a", "b"}


def test_an_interrupted_run_loses_nothing(rows, tmp_path):
    out = tmp_path / "scores.jsonl"
    steps = scoring.score(rows, out, Stub(), str.lower, None, STAMP)
    next(steps)
    steps.close()
    out.write_text(out.read_text() + '{"id": "b", "hyp')
    rest = Stub()
    assert [item["id"] for item in run(rows, out, rest)] == ["a", "b"]
    assert rest.lengths == [32000]
    assert all(json.loads(line) for line in out.read_text().splitlines())


def test_a_missing_file_says_nothing(tmp_path):
    stub = Stub()
    (item,) = run([("x", tmp_path / "none.wav", "Hello")], tmp_path / "s.jsonl", stub)
    assert item["missing"] and item["hypothesis"] == "" and item["reference"] == "hello" and stub.lengths == []


def test_without_a_recogniser_there_is_a_hint(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MAMTRA_WHISPER", raising=False)
    with pytest.raises(SystemExit):
        scoring.main([str(tmp_path / "list.tsv"), "--out", str(tmp_path / "s.jsonl")])
    assert "MAMTRA_WHISPER" in capsys.readouterr().err
