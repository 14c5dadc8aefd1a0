"""docs/settings.md names every setting, and is what the script makes of the settings' classes."""

import importlib.util
from pathlib import Path

from mamtra.distill.config import DistillConfig
from mamtra.paper.settings import ExperimentSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script():
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    made = script().page()
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == made, "run python docs/make_settings.py"
    for place in (
        "run.loss_chunk",
        "on_policy.longest",
        "student.transfer.a_init",
        "variants.NAME.variants",
        "table3.fractions",
    ):
        assert made.count(f"| `{place}` |") == 1


def test_every_setting_is_described():
    make = script()
    for root in (DistillConfig, ExperimentSettings):
        for place, model in make._models(root, ""):
            words = make.descriptions(model)
            assert set(model.model_fields) <= words.keys(), place
            assert all(words[name] for name in model.model_fields), place
