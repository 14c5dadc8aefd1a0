import json
import re
import shutil
from pathlib import Path

import pytest

from mamtra.cli import doctor, main


def test_facts_as_json(model, capsys):
    assert main(["doctor", "--model", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (
        facts["packages"]["onnxruntime"]
        and facts["runtimes"]["torch"] == "ready (default)"
        and facts["formats"]["wav"] is True
    )
    assert any(device.startswith("cpu") for device in facts["devices"])
    assert facts["model"]["voices"] == ["tiny"] and all(facts["model"]["parts"].values())


def test_lines_for_people(model, capsys):
    assert main(["doctor", "--model", model]) == 0
    out = capsys.readouterr().out
    assert "formats" in out and "voices    tiny" in out


def test_a_model_that_cannot_speak_is_status_two(model, capsys):
    shutil.copytree(model, "half")
    Path("half/speaker_encoder.safetensors").unlink()
    assert main(["doctor", "--model", "half", "--json"]) == 0  # it speaks, but does not clone
    facts = json.loads(capsys.readouterr().out)["model"]
    assert facts["parts"]["speaker_encoder"] is False and facts["speaks"] and not facts["clones"]
    Path("half/flow.safetensors").write_bytes(b"damaged")
    assert main(["doctor", "--model", "half"]) == 2
    out = capsys.readouterr().out
    assert "flow no" in out and "problem   half/flow.safetensors" in out
    assert main(["doctor", "--model", "nothing"]) == 2
    assert "no model 'nothing'" in capsys.readouterr().out


@pytest.mark.parametrize(("file", "key"), [("config.json", "speech_codes"), ("generation_config.json", "top_q")])
def test_a_refused_key_is_a_problem(model, capsys, file, key):
    shutil.copytree(model, "old")
    config = json.loads(Path("old", file).read_text())
    (config["lm"] if file == "config.json" else config)[key] = 5
    Path("old", file).write_text(json.dumps(config))
    assert main(["doctor", "--model", "old"]) == 2
    assert key in capsys.readouterr().out


def test_a_damaged_voice_is_a_problem_of_its_own(model, capsys):
    shutil.copytree(model, "voices")
    Path("voices/voices/bad.safetensors").write_bytes(b"damaged")
    assert main(["doctor", "--model", "voices", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["model"]
    assert facts["voices"] == ["tiny"] and "bad.safetensors" in facts["problems"][0]


def test_what_is_missing_is_told_with_its_extra(model, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "av" else "1")
    assert main(["doctor", "--model", model]) == 0
    out = capsys.readouterr().out
    assert "extras    hub yes  torch yes  formats no  train yes" in out
    assert "to get    aac files with say" in out and "pip install 'mamtra[formats]' (brings av)" in out


def test_extras_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    content = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    offered = content["project"]["optional-dependencies"]
    named = {extra: {re.match(r"[\w-]+", each)[0] for each in offered[extra]} for extra in {*offered} - {"all", "dev"}}
    for packages in named.values():
        packages.discard("mamtra")  # an extra that brings another one
    assert named == {extra: {*packages} for extra, (_, packages) in doctor.EXTRAS.items()}
