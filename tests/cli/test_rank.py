"""`mamtra rank`: tables, JSON, plots, going on, and one sentence for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from mamtra.checkpoints.native import save_model
from mamtra.cli import main
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking import read_ranking
from tests.factories import tiny_config, tiny_model


@pytest.fixture(scope="module")
def ranked(tmp_path_factory) -> str:
    """A model of three attention layers."""
    directory = tiny_model(tmp_path_factory.mktemp("models") / "three")
    save_model(directory, {"lm": SpeechLM(tiny_config("aaa"), torch.Generator().manual_seed(0))})
    return str(directory)


@pytest.fixture(autouse=True)
def sentences(elsewhere, monkeypatch):
    monkeypatch.delenv("MAMTRA_WHISPER", raising=False)
    Path("words.txt").write_text("Hello there.\nHow are you?\n")
    return ["--sentences", "words.txt"]


@pytest.mark.parametrize("table", ["t.jsonl", "t.csv"])
def test_a_ranking_for_people_and_for_plans(ranked, sentences, capsys, table):
    assert main(["rank", ranked, "--criterion", "kl", "-o", table, *sentences]) == 0
    captured = capsys.readouterr()
    order = [int(line.split()[1]) for line in captured.out.splitlines()[1:]]
    assert sorted(order) == [0, 1, 2] and order == read_ranking(table)
    assert f"--ranking {table}" in captured.err
    assert LayerPlan.from_ratio(3, "1:2", "importance-cosine", order).attention_layers == (order[0],)


@pytest.mark.parametrize("options", [["kl", "--replace", "mamba"], ["cosine", "--part", "attention"]])
def test_json_is_a_ranking_file(ranked, sentences, capsys, options):
    words = ["rank", ranked, "--criterion", *options, "--voice", "tiny", "--iterative", "--json", *sentences]
    assert main(words) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    Path("ranking.json").write_text(captured.out)
    assert captured.err == "" and read_ranking("ranking.json") == facts["ranking"] == read_ranking(facts["table"])
    assert facts["criterion"] == options[0] and facts["table"] == f"ranking-{options[0]}.jsonl"
    assert len(facts["rows"]) == 6 and facts["seconds"] > 0 and facts["iterative"] is True


def test_runs_go_on_and_are_not_mixed(ranked, sentences, capsys, refused):
    words = ["rank", ranked, "--criterion", "cosine", "--json", *sentences]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    table = Path("ranking-cosine.jsonl")
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    assert main(words) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["ranking"] == first["ranking"] and second["rows"][0] == first["rows"][0]
    assert "seed is 0 there and 1 here" in refused([*words, "--seed", "1"])
    assert main([*words, "--seed", "1", "--overwrite"]) == 0


def test_calibration_files(ranked, capsys):
    lines = [{"text": [3 + i, 4], "speech": list(range(i, i + 9))} for i in range(8)]
    Path("data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ["rank", ranked, "--criterion", "kl", "--data", "data.jsonl", "--json", "--overwrite"]

    def scores(*more):
        assert main([*words, *more]) == 0
        return [row["score"] for row in json.loads(capsys.readouterr().out)["rows"]]

    assert scores() == scores("--utterances", "8") != scores("--every", "2")


@pytest.mark.parametrize("name", ["plot.svg", "plot.png"])
def test_plots(ranked, sentences, name):
    pytest.importorskip("matplotlib")
    for target in (name, f"again-{name}"):
        assert main(["rank", ranked, "--criterion", "cosine", "--plot", target, *sentences]) == 0
    assert len(Path(name).read_bytes()) > 3000 and Path(name).read_bytes() == Path(f"again-{name}").read_bytes()


def test_models_without_voices_are_measured_without_a_prompt(ranked, sentences, capsys, refused):
    shutil.copytree(ranked, "mute")
    shutil.rmtree("mute/voices")
    assert main(["rank", "mute", "--criterion", "kl", "--json", *sentences]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["voice"] is None
    said = refused(["rank", "mute", "--criterion", "wer", "--whisper", "base", *sentences])
    assert "no voices to speak with" in said


def bad_inputs():
    """Words behind `rank MODEL`, and a part of the sentence they must be answered with."""
    return {
        "criterion": (["--criterion", "taste"], "choose one of cosine, wer, kl"),
        "part": (["--criterion", "cosine", "--part", "head"], "choose one of block, attention"),
        "replacement": (["--criterion", "kl", "--replace", "lstm"], "choose one of identity, mamba"),
        "table": (["--criterion", "kl", "-o", "a.txt"], "a .jsonl or a .csv"),
        "folder": (["--criterion", "kl", "-o", "gone/a.csv"], "does not exist"),
        "plot": (["--criterion", "kl", "--plot", "a.gif"], "a .svg or a .png"),
        "data": (["--criterion", "kl", "--data", "gone.npz"], "no calibration file"),
        "kind of data": (["--criterion", "kl", "--data", "words.txt"], "a .jsonl or a .npz"),
        "sentences": (["--criterion", "kl", "--sentences", "gone.txt"], "cannot be read"),
        "voice": (["--criterion", "kl", "--voice", "nobody"], "no voice 'nobody'"),
        "device": (["--criterion", "kl", "--device", "abacus"], "no device 'abacus'"),
        "no transcriber": (["--criterion", "wer"], "needs a transcriber"),
        "data for wer": (["--criterion", "wer", "--data", "a.npz"], "free-running speech"),
        "whisper": (["--criterion", "wer", "--whisper", "base"], "needs faster-whisper"),
        "no criterion": ([], "criterion"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_is_one_sentence_and_leaves_nothing(case, ranked, sentences, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    words, expected = bad_inputs()[case]
    before = sorted(os.listdir())
    assert expected in refused(["rank", ranked, *words, *([] if {"--sentences", "--data"} & {*words} else sentences)])
    assert sorted(os.listdir()) == before


def test_no_model(refused, sentences):
    assert "no model 'nothing'" in refused(["rank", "nothing", "--criterion", "kl", *sentences])


def test_missing_matplotlib(ranked, sentences, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(["rank", ranked, "--criterion", "kl", "--plot", "a.svg", *sentences])
    assert "A plot needs matplotlib; pip install 'mamtra[eval]'." in said
