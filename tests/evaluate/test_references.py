"""The set's recordings, and their resynthesis, beside the figures of a model."""

import json
import re

import pytest

from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate.references import begin, recorded, references
from mamtra.evaluate.run import Job
from mamtra.evaluate.score_file import differences, read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.systems import GroundTruth, Resynthesis, Sounds, Speaking
from mamtra.tts import load
from tests.factories import reference, tiny_model


class StandIn:
    """StandIn the same words in everything, and counts how often."""

    calls = 0

    def __init__(self, name="transcriber", *_):
        self.about = {"asr": f"stand-in {name}"}

    def __call__(self, samples, sample_rate):
        StandIn.calls += 1
        return "hello there"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A tiny model, a set of three lines of which two have recordings, and one without any; the stand-in listens."""
    tiny_model(tmp_path / "tiny")
    (tmp_path / "sounds").mkdir()
    for name in ("one.wav", "two.wav", "sounds/a.wav"):
        reference(tmp_path / name, 1.0)
    rows = "a\tHello there.\tone.wav\nb\tHello there.\t\nc\tHello there.\ttwo.wav\n"
    (tmp_path / "set.tsv").write_text("id\ttext\tground_truth\n" + rows, encoding="utf-8")
    (tmp_path / "bare.txt").write_text("Hello there.\n", encoding="utf-8")
    monkeypatch.setattr("mamtra.evaluate.judges.asr.open_transcriber", StandIn)
    monkeypatch.setattr(StandIn, "calls", 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, system="tiny", transcriber="transcriber"):
    return main(["evaluate", system, "--whisper", transcriber, "-o", "s.jsonl", "--device", "cpu", *arguments])


def test_ground_truth_and_resynthesis_come_with_a_model(place, capsys):
    assert run("--set", "set.tsv", "--sounds", "kept", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["system"] == "tiny" and found["utterances"] == 3
    beside = found["references"]
    assert [beside[name]["system"] for name in ("ground_truth", "resynthesis")] == [
        "ground_truth",
        "resynthesis by tiny",
    ]
    assert all(one["utterances"] == 2 and one["without_sound"] == 0 for one in beside.values())
    files = [read_scores(place / name) for name in ("s.jsonl", "s.ground_truth.jsonl", "s.resynthesis.jsonl")]
    assert [[*scores.rows] for scores in files] == [["a", "b", "c"], ["a", "c"], ["a", "c"]]
    assert not any(differences(files[0].fingerprint, other.fingerprint) for other in files[1:])
    assert files[1].rows["a"]["duration_ratio"] == 1 and files[2].rows["a"]["tokens"] == 25
    assert (place / "kept" / "a.wav").read_bytes() != (place / "kept" / "resynthesis" / "a.wav").read_bytes()
    assert StandIn.calls == 7


def test_one_table_shows_all_of_them(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    assert run("--set", "set.tsv") == 0
    out = capsys.readouterr().out
    head = next(line for line in out.splitlines() if "95% interval" in line)
    assert re.split(r" {2,}", head.strip()) == ["value and 95% interval", "tiny", "ground_truth", "resynthesis by tiny"]
    (row,) = (line for line in out.splitlines() if line.strip().startswith("wer_english "))
    assert row.count("0 [0, 0]") == 3
    (ratio,) = (line for line in out.splitlines() if line.strip().startswith("duration_ratio"))
    assert "1 [1, 1]" in ratio
    assert "ground_truth: 2 utterances" in out and "resynthesis by tiny: 2 utterances" in out


def test_files_that_fit_are_taken_and_finished(place):
    assert run("--set", "set.tsv") == 0
    text = (place / "s.ground_truth.jsonl").read_text(encoding="utf-8").splitlines()
    (place / "s.ground_truth.jsonl").write_text("\n".join(text[:2]) + "\n", encoding="utf-8")  # one row is lost
    again = (place / "s.resynthesis.jsonl").read_bytes()
    StandIn.calls = 0
    assert run("--set", "set.tsv", "--overwrite") == 0
    assert StandIn.calls == 3 + 1  # the model anew, and the row that was lost
    assert (place / "s.resynthesis.jsonl").read_bytes() == again
    assert len(read_scores(place / "s.ground_truth.jsonl").rows) == 2


def test_files_that_do_not_fit_are_said_before_anything_is_measured(place, capsys):
    assert run("--set", "set.tsv") == 0
    (place / "s.jsonl").unlink()
    StandIn.calls = 0
    assert run("--set", "set.tsv", transcriber="others") == 2
    assert "s.ground_truth.jsonl was measured with another asr" in " ".join(capsys.readouterr().err.split())
    assert StandIn.calls == 0 and not (place / "s.jsonl").exists()
    assert run("--set", "set.tsv", "--overwrite", transcriber="others") == 0
    assert read_scores(place / "s.ground_truth.jsonl").fingerprint["asr"] == "stand-in others"


def test_alone(place, capsys):
    assert run("--set", "set.tsv", "--alone", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["references"] == {} and "no recordings" not in captured.err
    assert not [*place.glob("s.ground_truth*")] and StandIn.calls == 3


def test_a_set_without_recordings_says_so(place, capsys):
    assert run("--set", "bare.txt") == 0
    captured = capsys.readouterr()
    assert "The set bare.txt has no recordings of its texts to compare with." in " ".join(captured.err.split())
    assert "95% interval" in captured.out and [*place.glob("s.*")] == [place / "s.jsonl"]


def test_ground_truth_itself_is_measured_alone(place, capsys):
    assert run("--set", "set.tsv", "--json", system="ground_truth") == 0
    assert json.loads(capsys.readouterr().out)["references"] == {} and not [*place.glob("s.ground_truth*")]


def test_what_stands_beside_which_system(place, monkeypatch):
    job, lines = Job("tiny", "", seeds=(3, 4), keep="kept"), read_set("set.tsv")
    found, remarks = references(Job("sounds", ""), Scorer(Sounds(place / "sounds"), StandIn()), place / "x.jsonl")
    assert [type(one.scorer.system) for one in found] == [GroundTruth] and not remarks
    tts = load(place / "tiny")
    scorer = Scorer(Speaking(tts, seeds=(3, 4)), StandIn())
    found, _ = references(job, scorer, place / "x.jsonl")
    assert [type(one.scorer.system) for one in found] == [GroundTruth, Resynthesis]
    assert found[1].job == Job("resynthesis", "", seeds=(3,), model="tiny") and found[1].scorer.system.seeds == (3,)
    assert not begin(found[0], recorded(lines)).rows

    def missing(self, section):
        raise MamTraError(f"There is no {section}.")

    monkeypatch.setattr(type(tts.model), "part", missing)
    found, (remark,) = references(job, scorer, place / "x.jsonl")
    assert len(found) == 1 and remark == "tiny cannot resynthesise the recordings: There is no speech_tokenizer."
