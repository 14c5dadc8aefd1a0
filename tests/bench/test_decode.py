"""The command runs, and its page says what the figures say."""

from __future__ import annotations

import json

from mamtra.bench.decode_page import render
from mamtra.cli import main


def test_decode(tmp_path):
    assert main(["bench", "decode", "--tiny", "--device", "cpu", "-o", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "decode.json").read_text())
    assert {row["ratio"] for row in result["steps"]} == {"1:0", "1:1", "1:5", "1:11"} and not result["skipped"]
    assert str(tmp_path) not in result["command"]
    page = (tmp_path / "decode.md").read_text()
    assert page == render(result)
    row = result["steps"][0]
    assert f"| 1:0 | 1 | 64 | {row['ms']:.3f} |" in page
