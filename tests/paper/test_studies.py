"""The paper's tables and figures, computed anew: what they find and what they write."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import mamtra
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.paper import fig5 as cache_growth
from mamtra.paper import study
from mamtra.paper.table1 import table1
from mamtra.paper.table2 import PAPER, table2
from mamtra.paper.table3_flops import flops_column


@pytest.fixture
def few_contexts(monkeypatch):
    monkeypatch.setattr(cache_growth, "CONTEXTS", (128, 1024, 131072))
    monkeypatch.setattr(cache_growth, "ALLOCATED", 2**24)


def test_table1_shows_the_plans():
    result = table1()
    assert len(result.rows) == 24
    for row in result.rows:
        assert LayerPlan.parse(f"{row['layers']} {row['strategy']} {row['ratio']}").num_layers == 24
        assert f"`{row['layers']}`" in result.page


def test_table2_grows_as_the_paper_says():
    result = table2()
    curves = result.data["polynomials"]
    assert result.data["formula_agrees"] is True and "at every length: yes" in " ".join(result.page.split())
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
    data = flops_column().data
    assert data["agree"]["Zonos-v0.1 1:3"] == ["9LDN scan"]
    assert "full scores" in data["agree"]["Llasa-1B 1:0"]
    assert data["agree"]["CosyVoice 2 1:0"] == []
    low, high = data["unexplained_tflops"]
    for row in data["rows"]:
        if row["model"] in ("CosyVoice 2", "MamTra"):
            assert int((row["full scores"] - (low + high) / 2) * 100) == round(row["published"] * 100)


def test_fig5_allocates_what_the_formula_says(few_contexts):
    pytest.importorskip("matplotlib")
    result = cache_growth.fig5()
    assert len(result.rows) == 7 * 3
    assert all(row["allocated_bytes"] == row["formula_bytes"] for row in result.rows)
    assert {row["device"] for row in result.rows} == {"cpu", "meta"}
    sizes = {(row["model"], row["context"]): row["allocated_bytes"] for row in result.rows}
    assert sizes["GQA (1:0)", 131072] == 131072 * 12288 and sizes["MHA", 1024] == 7 * sizes["GQA (1:0)", 1024]
    assert sizes["Mamba (0:1)", 128] == sizes["Mamba (0:1)", 131072]
    assert sizes["1:1", 128] > sizes["GQA (1:0)", 128] and sizes["1:11", 1024] < sizes["GQA (1:0)", 1024]
    assert result.data["break_even_tokens"] == 462


def test_files(few_contexts, tmp_path):
    pytest.importorskip("matplotlib")
    result = cache_growth.fig5()
    files = result.write(tmp_path / "new" / "folder", "mamtra reproduce fig5")
    assert [file.name for file in files] == ["fig5.json", "fig5.csv", "fig5.md", "fig5.svg"]
    data = json.loads(files[0].read_text())
    assert data["command"] == "mamtra reproduce fig5" and data["version"] == mamtra.__version__
    assert data["hardware"]["cores"] and data["versions"]["torch"] and "commit" in data
    assert data["points"] == list(result.rows)
    with files[1].open(newline="") as file:
        assert [int(row["formula_bytes"]) for row in csv.DictReader(file)] == [r["formula_bytes"] for r in result.rows]
    page = files[2].read_text()
    assert page.startswith("# Figure 5") and "(fig5.svg)" in page and "`mamtra reproduce fig5`" in page
    assert ElementTree.parse(files[3]).getroot().tag.endswith("svg")
    again = cache_growth.fig5().write(tmp_path, "mamtra reproduce fig5")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]


def test_results_without_a_figure_have_three_files(tmp_path):
    files = flops_column().write(tmp_path, "c")
    assert [file.suffix for file in files] == [".json", ".csv", ".md"] and "![" not in files[2].read_text()


def test_fig5_names_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MamTraError, match=r"pip install 'mamtra\[eval\]'"):
        cache_growth.fig5()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_package_and_of_nothing_around_it(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(study.mamtra, "__file__", str(package / "__init__.py"))
    assert study.commit() is None
    git("init", "-q")
    assert study.commit() is None
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert study.commit() == git("rev-parse", "HEAD")
    Path(package / "more.py").touch()
    assert study.commit() == git("rev-parse", "HEAD") + " + changes"
