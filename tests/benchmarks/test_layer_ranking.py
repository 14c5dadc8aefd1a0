"""Stored rankings and the page that shows them."""

import json
from pathlib import Path

import layer_ranking
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ranking.md"


def result(**changes):
    rows = [{"step": 0, "layer": i, "score": s, "seconds": 1.0} for i, s in enumerate((0.5, 0.125, 2.0, 0.25))]
    return {
        "name": "tiny", "model": {"lm": "abc"}, "criterion": "kl", "iterative": False, "num_layers": 4,
        "candidates": [0, 1, 2, 3], "settings": {"replace": "mamba", "seed": 0}, "data": {"source": "own"},
        "ranking": [2, 0, 3, 1], "rows": rows, "seconds": 4.0, "command": "python x", "commit": "",
        "hardware": {"cpu": "c", "cores": 2, "threads": 1, "system": "s"}, "versions": {"torch": "2"},
    } | changes  # fmt: skip


def test_the_page_is_what_the_stored_results_give(tmp_path):
    page = tmp_path / "docs" / "ranking.md"
    page.parent.mkdir()
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    layer_ranking.fill(page, PAGE.parent / "results")
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_results_are_rendered_once_and_replaced(tmp_path):
    page = tmp_path / "ranking.md"
    page.write_text(f"before\n{layer_ranking.BEGIN}\nold\n{layer_ranking.END}\nafter\n")
    (tmp_path / "results").mkdir()
    stored = {"ranking-a.json": result(), "ranking-b.json": result(iterative=True, ranking=[1, 3, 0, 2])}
    for name, value in stored.items():
        (tmp_path / "results" / name).write_text(json.dumps(value))
    layer_ranking.main(["--page", str(page)])
    text = page.read_text()
    layer_ranking.main(["--page", str(page)])
    assert page.read_text() == text and text.startswith("before\n") and text.endswith("\nafter\n")
    assert "| 2 | 2 (#1) | 2 (#4) |" in text and "old" not in text
    assert "| kl, mamba | 0 2 | 2 |\n" in text and "1:5" not in text
    assert "| kl, mamba | 1.00 | -1.00 |" in text, "opposite orders"


def test_word_error_rates_have_a_row_for_the_whole_model():
    rows = [{"step": 0, "layer": None, "score": 3.5}, *result()["rows"]]
    page = layer_ranking.layer_table([result(criterion="wer", rows=rows), result()])
    assert page.endswith("| unchanged model | 3.5 |  |")


def test_a_run_is_stored_with_its_circumstances(tmp_path, monkeypatch, capsys):
    summary = {"table": "t.jsonl", **{k: v for k, v in result().items() if k not in ("command", "hardware")}}
    said = []

    def rank(words):
        said.append(words)
        print(json.dumps(summary))
        return 0

    monkeypatch.setattr(layer_ranking, "mamtra", rank)
    page, out = tmp_path / "ranking.md", tmp_path / "results" / "ranking-kl.json"
    page.write_text(f"{layer_ranking.BEGIN}{layer_ranking.END}")
    layer_ranking.main(["--out", str(out), "--page", str(page), "--", "M", "--criterion", "kl"])
    assert said == [["rank", "M", "--criterion", "kl", "--json"]]
    stored = json.loads(out.read_text())
    assert stored["ranking"] == [2, 0, 3, 1] and {"command", "commit", "hardware", "versions"} <= set(stored)
    assert "table" not in stored and "### tiny" in page.read_text()


def test_words_and_file_go_together(tmp_path):
    for words in (["--out", "ranking-a.json"], ["--", "M"], ["--out", "a.json", "--", "M"]):
        with pytest.raises(SystemExit):
            layer_ranking.main(words)
