"""A fresh hybrid is known as one, until it has been trained."""

import warnings

import pytest

import mamtra
from mamtra.checkpoints.provenance import needs_distillation
from mamtra.distill.api import distill
from mamtra.models.plan import LayerPlan
from mamtra.runtime.json_files import write_json
from mamtra.synthesis.model import Model
from tests.distill.runs import prepare, setting


def test_a_hybrid_needs_distillation_until_it_is_trained(tmp_path):
    prepare(tmp_path)
    fresh = mamtra.convert(tmp_path / "teacher", tmp_path / "fresh", LayerPlan.from_ratio(2, "1:1"))
    same = mamtra.convert(tmp_path / "teacher", tmp_path / "same", LayerPlan.from_ratio(2, "1:0"))
    trained = distill(setting(tmp_path, run={"steps": 1, "precision": "float32", "device": "cpu"})).student
    again = mamtra.convert(trained, tmp_path / "again", LayerPlan.from_ratio(2, "0:1"))
    found = [needs_distillation(place) for place in (tmp_path / "teacher", fresh, same, trained, again)]
    assert found == [False, True, False, False, True]
    model = Model(fresh)
    with pytest.warns(UserWarning, match="The hybrid fresh has not been distilled, so it babbles"):
        assert model.lm is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.lm is not None and Model(trained).lm is not None  # once for each model
    write_json(fresh / "provenance.json", {"plan": None, "conversion": {}})
    assert not needs_distillation(fresh)
