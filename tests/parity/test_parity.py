"""Every module that was compared with vectors of the original still gives what it gave then."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.parity.cases import CASES
from tests.parity.fixture import FOLDER, Output, difference, normal, packed, used


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_the_fixture(name, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))
    stored = load_file(FOLDER / f"{name}.safetensors")
    with safe_open(FOLDER / f"{name}.safetensors", "numpy") as file:
        assert int(file.metadata()["vector_tests_passed"]) > 0
    computed, problems, most = set(), [], 0.0
    for output in CASES[name].outputs(tmp_path):
        computed.add(output.name)
        problems.append(difference(output, stored))
        most = most if problems[-1] else max(most, used(output, stored))
    record_property("parity", json.dumps({"what": name, "difference": most, "of": len(problems), "below": 1.0}))
    assert [problem for problem in problems if problem] == []
    assert computed == {array.partition(":")[0] for array in stored}


def test_fixtures_are_small_and_all_belong_to_a_case():
    files = list(FOLDER.iterdir())
    assert {file.name for file in files} == {f"{name}.safetensors" for name in CASES}
    assert sum(file.stat().st_size for file in files) <= 300_000


@pytest.mark.parametrize("place", [0, 1, 1234, 9999])
def test_a_change_of_any_element_is_seen(place):
    value = normal("any", 100, 100)
    stored = packed(Output("any", value))
    assert difference(Output("any", value + 2e-6, 1e-5), stored) == ""
    changed = value.clone()
    changed.view(-1)[place] += 0.01
    assert "off by" in difference(Output("any", changed, 1e-5), stored)
    assert "shape" in difference(Output("any", value[:99], 1e-5), stored)
    changed.view(-1)[place] = float("nan")
    assert "off by" in difference(Output("any", changed, 1e-5), stored)


def test_how_much_of_a_tolerance_is_used():
    stored = packed(Output("any", torch.zeros(3)))
    assert used(Output("any", torch.tensor([0.0, 0.005, 0.0]), 0.01), stored) == pytest.approx(0.5)
    assert used(Output("ids", torch.tensor([1, 2])), packed(Output("ids", torch.tensor([1, 2])))) == 0


def test_integers_are_compared_one_by_one():
    stored = packed(Output("ids", torch.tensor([1, 2, 3])))
    assert difference(Output("ids", torch.tensor([1, 2, 3])), stored) == ""
    assert "off by" in difference(Output("ids", torch.tensor([1, 2, 4])), stored)
    assert "shape" in difference(Output("ids", torch.tensor([1, 2])), stored)
