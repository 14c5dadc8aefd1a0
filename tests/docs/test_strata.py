"""The picture of the strata is the one that the import contract gives."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make_strata.py"


def test_the_picture_is_up_to_date():
    pytest.importorskip("tomllib")
    spec = importlib.util.spec_from_file_location("make_strata", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text(encoding="utf-8") == module.draw(), "python docs/make_strata.py draws it anew"
    assert all(module.purpose(room) for row in module.strata() for room in row)
