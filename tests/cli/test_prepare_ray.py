"""`mamtra prepare --ray` gives the files of one process, on a Ray of this machine.

Corpora are named by absolute paths here: the list of what was skipped quotes the paths that were read.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import mamtra
from mamtra.cli import main
from tests.cli.test_prepare import files, json_lines, libritts, run

SOURCE = str(Path(mamtra.__file__).parents[1])


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="needs Ray, of the extra ray")
    pytest.importorskip("ray.data", reason="needs Ray Data, of the extra ray")
    paths = os.pathsep.join((SOURCE, os.environ.get("PYTHONPATH", "")))
    runtime = {"env_vars": {"PYTHONPATH": paths}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", runtime_env=runtime)
    yield ray
    ray.shutdown()


def test_shards_are_those_of_one_process(cluster, model, capsys):
    corpus = libritts(Path("corpus").resolve())
    (corpus / "train-clean-100" / "100" / "121669" / "100_121669_000001_000002.wav").write_bytes(b"RIFF....")
    run(capsys, model, corpus, "alone", "--per-shard", "2")
    summary = run(capsys, model, corpus, "spread", "--per-shard", "2", "--ray", "local", "--workers", "2")
    assert summary["utterances"] == 3 and summary["reasons"] == {"unreadable": 1}
    assert files("alone") == files("spread") and len(files("alone")) == 6


def test_what_is_finished_is_not_made_again(cluster, model, capsys, monkeypatch):
    corpus = libritts(Path("corpus").resolve())
    run(capsys, model, corpus, "whole", "--per-shard", "1", "--ray", "local")
    shutil.copytree("whole", "cut")
    for name in ("manifest.json", "shard-00002.json"):
        Path("cut", name).unlink()
    from mamtra.data import ray_prepare

    asked, each = [], ray_prepare.RayTokenizer.each
    monkeypatch.setattr(
        ray_prepare.RayTokenizer, "each", lambda self, parts: asked.append(len(parts)) or each(self, parts)
    )
    run(capsys, model, corpus, "cut", "--per-shard", "1", "--ray", "local")
    run(capsys, model, corpus, "cut", "--per-shard", "1", "--ray", "local")
    assert asked == [1, 0] and files("cut") == files("whole")


def test_skipped_recordings_are_listed(cluster, model, capsys):
    words = ["--max-seconds", "3", "--max-text", "120"]
    corpus = json_lines(Path("corpus").resolve())
    alone, spread = (
        run(capsys, model, corpus, out, *words, *more) for out, more in (("a", ()), ("b", ("--ray", "local")))
    )
    assert spread["skipped"] == 6 and {**spread, "out": "a"} == alone and files("a") == files("b")


def test_a_failing_actor_is_one_sentence(cluster, model, capsys):
    damaged = shutil.copytree(model, "damaged")
    corpus = libritts(Path("corpus").resolve())
    run(capsys, model, corpus, "out")
    for path in Path(damaged).glob("speech_tokenizer*.safetensors"):
        path.write_bytes(b"half")
    err = run(capsys, str(damaged), corpus, "none", "--ray", "local")
    assert "Ray could not finish: " in err and err.count("\n") == 1


def test_without_ray_the_extra_is_named(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    Path("a.jsonl").write_text(json.dumps({"audio": "a.wav", "text": "Hello."}))
    assert main(["prepare", "a.jsonl", "out", "--model", model, "--ray", "local"]) == 2
    err = capsys.readouterr().err
    assert "mamtra[ray]" in err and err.count("\n") == 1
