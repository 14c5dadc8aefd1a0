"""The paper's tables and figures, computed anew: what they find and what they write."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.paper import fig5 as cache_growth
from mamtra.paper import table2
from mamtra.paper.api import STUDIES, TRAINED, load_study, reproduce
from mamtra.paper.table2 import PAPER
from mamtra.version import VERSION

CHECKED_IN = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture
def few_contexts(monkeypatch):
    monkeypatch.setattr(cache_growth, "CONTEXTS", (128, 1024, 131072))
    monkeypatch.setattr(cache_growth, "ALLOCATED", 2**24)


def test_table1_shows_the_plans():
    study = load_study("table1")
    found = study.find()
    assert len(found["rows"]) == 24
    for row in found["rows"]:
        assert LayerPlan.parse(f"{row['layers']} {row['strategy']} {row['ratio']}").num_layers == 24
        assert f"`{row['layers']}`" in study.page(found)


def test_table2_grows_as_the_paper_says(monkeypatch):
    monkeypatch.setattr(table2, "LENGTHS", (1088, 1152, 1216))  # the shortest with more than 16 chunks
    study = load_study("table2")
    found = study.find()
    curves = found["polynomials"]
    assert found["formula_agrees"] is True and "at every length: yes" in " ".join(study.page(found).split())
    for name in ("MHA", "GQA"):
        # 4 operations a score and channel; 14 heads of float32 scores; the L² is gone where they are not kept
        assert curves[name]["flops"][2] == pytest.approx(4 * 896)
        assert curves[name]["training, scores kept"][2] == pytest.approx(14 * 4)
        assert curves[name]["training, fused"][2] == 0
    assert curves["MHA"]["decoding"] == [0, 2 * 896 * 2, 0] and curves["GQA"]["decoding"] == [0, 2 * 128 * 2, 0]
    mamba = curves["Mamba"]
    # what is left goes with the square of the number of chunks
    assert mamba["flops"][2] == pytest.approx(2 * 14 * 64 * 64 / 64**2) and mamba["training, fused"][2] < 0.1
    assert mamba["decoding"] == [14 * 64 * 64 * 4 + 3 * 1152 * 2, 0, 0]
    assert set(curves) == set(PAPER)


def test_the_tflops_column_tells_what_agrees_and_what_does_not():
    data = load_study("table3-flops").find()
    assert data["agree"]["Zonos-v0.1 1:3"] == ["9LDN scan"]
    assert "full scores" in data["agree"]["Llasa-1B 1:0"]
    assert data["agree"]["CosyVoice 2 1:0"] == []
    low, high = data["unexplained_tflops"]
    for row in data["rows"]:
        if row["model"] in ("CosyVoice 2", "MamTra"):
            assert int((row["full scores"] - (low + high) / 2) * 100) == round(row["published"] * 100)


def test_fig5_allocates_what_the_formula_says(few_contexts):
    pytest.importorskip("matplotlib")
    found = load_study("fig5").find()
    assert len(found["rows"]) == 7 * 3
    assert all(row["allocated_bytes"] == row["formula_bytes"] for row in found["rows"])
    assert {row["device"] for row in found["rows"]} == {"cpu", "meta"}
    sizes = {(row["model"], row["context"]): row["allocated_bytes"] for row in found["rows"]}
    assert sizes["GQA (1:0)", 131072] == 131072 * 12288 and sizes["MHA", 1024] == 7 * sizes["GQA (1:0)", 1024]
    assert sizes["Mamba (0:1)", 128] == sizes["Mamba (0:1)", 131072]
    assert sizes["1:1", 128] > sizes["GQA (1:0)", 128] and sizes["1:11", 1024] < sizes["GQA (1:0)", 1024]
    assert found["break_even_tokens"] == 462


def test_files(few_contexts, tmp_path):
    pytest.importorskip("matplotlib")
    written = reproduce("fig5", out=tmp_path / "new" / "folder")["fig5"]
    files = written.files
    assert [file.name for file in files] == ["fig5.json", "fig5.csv", "fig5.md", "fig5.svg"]
    data = json.loads(files[0].read_text())
    assert data == written.content
    assert data["command"] == "mamtra reproduce fig5" and data["versions"]["mamtra"] == VERSION
    assert data["hardware"]["cores"] and data["versions"]["torch"] and "commit" in data
    with files[1].open(newline="") as file:
        assert [int(row["formula_bytes"]) for row in csv.DictReader(file)] == [r["formula_bytes"] for r in data["rows"]]
    page = files[2].read_text()
    assert page.startswith("# Figure 5") and "(fig5.svg)" in page and "`mamtra reproduce fig5`" in page
    assert ElementTree.parse(files[3]).getroot().tag.endswith("svg")
    before = [file.read_bytes() for file in files]
    for file in files[1:]:
        file.unlink()
    again = reproduce("fig5", out=tmp_path / "new" / "folder", render=True)["fig5"]
    assert [file.read_bytes() for file in again.files] == before


def test_results_without_a_figure_have_three_files(tmp_path):
    files = reproduce("table3-flops", out=tmp_path)["table3-flops"].files
    assert [file.suffix for file in files] == [".json", ".csv", ".md"] and "![" not in files[2].read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_the_pages_of_the_repository_are_made_from_their_json(name):
    study = load_study(name)
    assert study.name == name and (study.groups is not None) == (name in TRAINED)
    page = (CHECKED_IN / f"{name}.md").read_text(encoding="utf-8")
    assert study.render(study.read(CHECKED_IN)) == page


def test_nothing_to_render(tmp_path):
    with pytest.raises(MamTraError, match=r"holds no fig4\.json; run `mamtra reproduce fig4`"):
        reproduce("fig4", out=tmp_path, render=True)


def test_fig5_names_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MamTraError, match=r"pip install 'mamtra\[eval\]'"):
        load_study("fig5").find()


def _plans(*wer_of):
    """Found values of Figure 4 for plans given as (strategy, ratio, attention, ce, wer)."""
    figure = {"ci95": [0.0, 1.0], "seeds": [1.0], "count": 3}
    runs = [
        {"strategy": s, "ratio": r, "attention": kept, "ce": {**figure, "value": ce}, "wer": {**figure, "value": wer}}
        for s, r, kept, ce, wer in wer_of
    ]
    return {"runs": runs, "teacher": {}, "made_on": ["x"], "scored_by": {}, "settings": {"fig4": {}}}


def test_figure_4_names_the_layer_that_splits_its_plans():
    found = _plans(
        ("block-beg", "1:1", [0, 2], 3.0, 40.0), ("block-end", "1:1", [1, 3], 2.0, 9.0), ("front", "1:1", [2, 3], 2.5, 95.0),
        ("back", "1:1", [0, 1], 2.2, 10.0), ("sandwich", "1:1", [1, 2], 2.1, 8.0),
    )  # fmt: skip
    page = load_study("fig4").page(found)
    assert "the 3 that keep attention in layer 1 have a WER of 8.0 to 10.0%, the 2 that drop it 40.0 to 95.0%" in page
    assert "Block-end at 1:1 is block-beg shifted by one layer: 9.0% instead of 40.0%." in page
    assert (
        "over 5 plans: 0.80" in page
        and "1 of them babble" in page
        and "over the 3 with a WER below 30% it is 0.50" in page
    )
    assert "not corrected for the number of comparisons" in page
    found["runs"][1]["wer"]["value"] = 60.0
    assert "One layer splits" not in load_study("fig4").page(found)
