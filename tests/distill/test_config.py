"""Settings are read strictly and changed by dotted keys."""

from pathlib import Path

import pytest
import yaml

from mamtra.distill.config import read_config
from mamtra.distill.losses import DistillLossConfig
from mamtra.distill.renamed_keys import RENAMED, refuse_renamed
from mamtra.distill.settings import OptimizerSettings
from mamtra.errors import MamTraError

LEAST = {
    "out": "run",
    "teacher": {"model": "teacher"},
    "student": {"ratio": "1:1"},
    "data": {"train": "corpus"},
    "run": {"epochs": 15},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "distill.yaml"
    path.write_text(yaml.safe_dump(LEAST))
    return path


def test_defaults_are_the_papers(file):
    config = read_config(file)
    assert config.optimizer == OptimizerSettings(name="adam", lr=1e-5)
    assert config.batch.tokens == 40_000
    assert config.losses == DistillLossConfig(ce_weight=1, logits_weight=1, emb_weight=1, skew_alpha=0.1)


def test_changes(file):
    changes = [
        "optimizer.lr=2e-5",
        "run.epochs=null",
        "run.steps=7",
        "losses.skew_direction=reverse",
        "student.ratio=1:3",
    ]
    config = read_config(file, changes)
    assert config.optimizer.lr == 2e-5 and config.run.steps == 7 and config.losses.skew_direction == "reverse"
    assert config.student.ratio == "1:3"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("optimizer.rate=1", r"no setting optimizer\.rate; known are name, lr"),
        ("speed=1", r"no setting speed; known are out, teacher"),
        ("optimizer.lr", "does not change a setting"),
        ("optimizer.lr.x=1", r"no setting|lr"),
        ("optimizer.lr=fast", r"optimizer\.lr"),
        ("run.steps=3", "one of steps and epochs"),
        ("run={epochs: 1, precision: float32, residual: bf16}", "residual: bf16 needs precision: bf16"),
        ("student.model=x", "one of model, ratio and attention"),
        ("batch.tokens=[", "cannot be read as YAML"),
        ("teacher.cache=x", "holds logits only"),
        ("out.x=1", "holds a value"),
    ],
)
def test_mistakes(file, change, what):
    with pytest.raises(MamTraError, match=what):
        read_config(file, [change])


def test_ratios_are_not_numbers_of_the_clock(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(LEAST).replace("'1:1'", "1:11") + "optimizer: {lr: 3e-4, betas: [.9, 0.95]}\n")
    assert "ratio: 1:11" in path.read_text() and read_config(path).student.ratio == "1:11"
    assert read_config(path).optimizer.lr == 3e-4 and read_config(path).optimizer.betas == (0.9, 0.95)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MamTraError, match="no configuration"):
        read_config(tmp_path / "none.yaml")
    for text, what in (("a: [", "as YAML"), ("- 1", "KEY: VALUE")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(MamTraError, match=what):
            read_config(tmp_path / "bad.yaml")


def test_the_recipe_is_read():
    config = read_config(Path(__file__).resolve().parents[2] / "recipes" / "mini" / "distill.yaml")
    assert config.student.ratio == "1:1" and config.run.cuda_graph and config.optimizer.lr == 8e-4


def test_the_example_of_the_guide_is_read(tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "distill.md").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert read_config(tmp_path / "a.yaml").optimizer == OptimizerSettings()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_names_are_refused_with_the_new_ones(file, old, new):
    if not old.startswith("table3"):
        with pytest.raises(MamTraError, match=f"The setting {old} is called {new} now"):
            read_config(file, [f"{old}=1"])
    with pytest.raises(MamTraError, match=f"The setting {old} is called {new} now"):
        refuse_renamed({"variants": {"a": {"variants": {"b": {old: 1}}}}})
