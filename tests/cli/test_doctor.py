import json
from pathlib import Path

import pytest

from mamtra.cli import doctor, main


def test_facts_as_json(model, capsys):
    assert main(["doctor", "--model", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["torch"] and facts["formats"]["wav"] is True
    assert any(device.startswith("cpu") for device in facts["devices"])
    assert facts["model"]["voices"] == ["tiny"] and all(facts["model"]["parts"].values())


def test_lines_for_people(model, capsys):
    assert main(["doctor", "--model", model]) == 0
    out = capsys.readouterr().out
    assert "formats" in out and "voices    tiny" in out


def test_a_missing_part_and_a_missing_model_are_reported_not_raised(model, capsys):
    import shutil

    shutil.copytree(model, "half")
    Path("half/speaker_encoder.safetensors").unlink()
    assert main(["doctor", "--model", "half", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["parts"]["speaker_encoder"] is False
    assert main(["doctor", "--model", "nothing"]) == 0
    assert "no model 'nothing'" in capsys.readouterr().out


def test_what_is_missing_is_told_with_its_extra(model, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_present", lambda module: module != "av")
    assert main(["doctor", "--model", model]) == 0
    out = capsys.readouterr().out
    assert "extras    formats no  train yes" in out and "to get    AAC sound: pip install 'mamtra[formats]'" in out


def test_extras_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    content = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert {*doctor.EXTRAS} == {*content["project"]["optional-dependencies"]} - {"all", "dev"}
