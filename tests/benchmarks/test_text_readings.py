from __future__ import annotations

import json
from pathlib import Path

import text_readings

ROWS = "# comment\nplain\tA cat.\ta cat\nlines\tone\\ntwo\tone / two\nheteronym\tlead pipe\t/lˈɛd/\nsigns\t5\tsix\n"


def test_page(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.tsv", tmp_path / "results" / "text.json"
    rows.write_text(ROWS, encoding="utf-8")
    text_readings.main(["--readings", str(rows), "--unseen", str(rows), "--out", str(out)])
    results = json.loads(out.read_text(encoding="utf-8"))
    scored = results["sets"]["unseen"]
    assert scored["rows"] == {"plain": 1, "lines": 1, "heteronym": 1, "signs": 1}
    assert scored["systems"]["mamtra"]["right"] == {"plain": 1, "heteronym": 1}
    assert [one["written"] for one in scored["systems"]["mamtra"]["missed"]] == ["one\ntwo", "5"]
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| all of these | 50 % (2 of 4) |" in page and "five" in page and str(tmp_path) not in page
    assert text_readings.render(results) == page


def test_other_readers_run_in_their_own_process(tmp_path: Path) -> None:
    import sys

    found = text_readings._elsewhere(sys.executable, "mamtra", ["It cost $5.", "***"])
    assert found is not None and found[0]["text"] == "It cost five dollars." and "error" in found[1]
    assert text_readings._elsewhere(sys.executable, "nemo", ["x"]) is None
