"""A run over a set with a stand-in for the transcriber: rows, fingerprints, resuming, comparing."""

import json

import numpy as np
import pytest

from mamtra.audio.io import write_audio
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate.api import follow
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.score_file import differences, read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.summary import compare_scores as compare
from mamtra.evaluate.summary import summarise
from mamtra.evaluate.systems import GroundTruth, Sounds

TEXTS = {"a": "the old red hat", "b": "my dog ate it", "c": "good night"}


class Says:
    """StandIn what it was told to hear, by the length of the sound."""

    def __init__(self, hypotheses):
        self.about = {"asr": "stand-in", "asr_sha256": "0"}
        self.hypotheses, self.calls = hypotheses, 0

    def __call__(self, samples, sample_rate):
        self.calls += 1
        return self.hypotheses[round(len(samples) / sample_rate * 10)]


@pytest.fixture
def place(tmp_path):
    """A set of three lines, and a folder with the sound of two of them."""
    (tmp_path / "set.tsv").write_text("id\ttext\n" + "".join(f"{k}\t{v}\n" for k, v in TEXTS.items()), encoding="utf-8")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seconds, name in ((0.5, "a"), (0.7, "b")):
        tone = np.sin(np.arange(int(16000 * seconds)) / 9).astype(np.float32) / 2
        write_audio(folder / f"{name}.wav", tone, 16000)
    return tmp_path


def judge(place, hypotheses, path="scores.jsonl", **options):
    scorer = Scorer(Sounds(place / "sounds"), Says(hypotheses))
    steps = evaluate_set(
        Job(system="sounds", whisper=""), read_set(place / "set.tsv"), place / path, scorer=scorer, **options
    )
    return follow(steps), scorer.transcriber.calls


def untimed(scores):
    return {key: {**row, "spent": None} for key, row in scores.rows.items()}


def test_missing_sound_has_an_empty_hypothesis(place):
    scores, _ = judge(place, {5: "the old bed hat", 7: "my dog ate it"})
    assert scores.rows["c"]["error"] == "there is no sound"
    found = summarise(scores)
    assert found["without_sound"] == 1 and found["utterances"] == 3
    assert found["figures"]["wer_english"]["value"] == pytest.approx(100 * 3 / 10)
    assert found["figures"]["wer_english_macro"]["value"] == pytest.approx(100 * (1 / 4 + 0 + 1) / 3)
    assert found["steps"] == {"equal": 7, "replace": 1, "delete": 2, "insert": 0}
    assert found["failures"]["1-5"]["missing"] == 1
    assert set(found["spent"]) <= {"speaking", "transcribing"}


def test_an_interrupted_run_goes_on(place):
    hypotheses = {5: "the old red hat", 7: "my dog ate it"}
    whole, calls = judge(place, hypotheses)
    assert calls == 2
    lines = (place / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    (place / "scores.jsonl").write_text(
        "\n".join(lines[:2]) + "\n" + lines[2][:20], encoding="utf-8"
    )  # cut off in the middle
    again, calls = judge(place, hypotheses)
    assert calls == 1 and again.rows == read_scores(place / "scores.jsonl").rows
    assert untimed(again) == untimed(whole)


def test_a_file_measured_otherwise_is_left_alone(place):
    judge(place, {5: "", 7: ""})
    before = (place / "scores.jsonl").read_bytes()
    (place / "set.tsv").write_text("id\ttext\na\tother words\n", encoding="utf-8")
    with pytest.raises(MamTraError, match=r"measured with another .*set_sha256"):
        judge(place, {5: "", 7: ""})
    assert (place / "scores.jsonl").read_bytes() == before


def test_comparison_pairs_utterances_and_refuses_other_judges(place, capsys, refused):
    judge(place, {5: "the old red hat", 7: "my dog ate it"}, "good.jsonl")
    judge(place, {5: "the old", 7: "my dog ate"}, "bad.jsonl")
    good, bad = read_scores(place / "good.jsonl"), read_scores(place / "bad.jsonl")
    found = compare(good, bad)["figures"]["wer_english"]
    assert found["difference"] == pytest.approx(100 * 3 / 10) and (found["lower"], found["higher"]) == (0, 2)
    assert not differences(good.fingerprint, bad.fingerprint)
    assert main(["compare", str(place / "good.jsonl"), str(place / "bad.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == 3

    text = (place / "bad.jsonl").read_text(encoding="utf-8").replace('"asr": "stand-in"', '"asr": "another"')
    (place / "bad.jsonl").write_text(text, encoding="utf-8")
    said = refused(["compare", str(place / "good.jsonl"), str(place / "bad.jsonl")])
    assert "cannot be compared (asr: stand-in against another)" in said
    assert main(["compare", str(place / "good.jsonl"), str(place / "bad.jsonl"), "--force"]) == 0


def test_ground_truth_is_the_sets_own_recordings(place):
    (place / "m.lst").write_text("a||sounds/a.wav|the old red hat|sounds/b.wav\n", encoding="utf-8")
    scorer = Scorer(GroundTruth(), Says({7: "the old red hat"}))
    row = scorer(read_set(place / "m.lst").lines[0])
    assert row["duration_ratio"] == pytest.approx(1.0) and row["hypothesis"] == "the old red hat"
