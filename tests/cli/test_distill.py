"""`mamtra distill` from the command line."""

import json
from pathlib import Path

import pytest
import yaml

from mamtra.cli import main
from tests.distill.corpora import make_corpus
from tests.distill.runs import prepare, setting
from tests.factories import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("distill"))


@pytest.fixture
def file(folder):
    config = setting(folder, "run", run={"steps": 4, "validate_every": 2})
    Path("distill.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    return "distill.yaml"


def test_dry_run(file, folder, capsys):
    assert main(["distill", file, "batch.tokens=300", "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["steps"] == 4 and facts["mamba_layers"] == [1]
    assert facts["student_parameters"] > facts["teacher_parameters"] > 0
    memory = facts["memory_bytes"]
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")
    assert memory["weights"] == memory["gradients"] == 4 * facts["student_parameters"]
    assert not (folder / "run").exists()
    assert main(["distill", file, "--dry-run"]) == 0
    assert "Nothing was trained" in capsys.readouterr().out


def test_training_and_report(file, folder, capsys, refused):
    assert main(["distill", file, f"out={folder / 'told'}", "--json"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert captured.err == "" and facts["steps"] == 4 and facts["validation"]["ce"] > 0
    page = Path(facts["report"]).read_text()
    assert page.count("<svg") >= 4 and "http" not in page and "Skew KL" in page
    assert "--resume" in refused(["distill", file, f"out={folder / 'told'}"])
    assert main(["distill", file, f"out={folder / 'told'}", "--resume"]) == 0
    assert "is ready" in capsys.readouterr().out


def test_mistakes_are_one_sentence(file, refused):
    for words, what in (
        (["optimizer.speed=1"], "no setting optimizer.speed"),
        (["data.train=nowhere"], "no token shards"),
        (["teacher.model=nobody"], "no model 'nobody'"),
        (["data.sources=[z]"], "no source 'z'"),
        (["run.device=cuda:9"], "not available"),
    ):
        assert what in refused(["distill", file, *words])


def test_the_student_is_listened_to(tmp_path, capsys, monkeypatch):
    tiny_model(tmp_path / "teacher")
    make_corpus(tmp_path / "corpus", 40, vocabulary=100, longest=30)
    config = setting(tmp_path, "heard", student={"ratio": None, "attention": []}, run={"steps": 4, "validate_every": 2})
    Path("distill.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    Path("say.txt").write_text("Hello there.\nGood morning.\n")
    heard = iter(["hello", "", "hello there", "good", "hello there", "good morning"])
    monkeypatch.setattr("mamtra.evaluate.judges.asr.open_transcriber", lambda name: lambda samples, rate: next(heard))
    monkeypatch.setattr("mamtra.evaluate.error_rates.english_normaliser", lambda: (str.lower, "lower case"))
    words = ["distill", "distill.yaml", "--whisper", "x", "--sentences", "say.txt", "--voice", "tiny", "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["validation"]["wer"] == 0
    lines = [json.loads(line) for line in Path(config.out, "log.jsonl").read_text().splitlines()]
    assert [line["wer"] for line in lines if line["kind"] == "validation"] == [75.0, 25.0, 0.0]
    assert "word error rate" in Path(facts["report"]).read_text()
    assert Path(facts["student"], "voices", "tiny.safetensors").is_file()
