from __future__ import annotations

import ast
from pathlib import Path

import faults

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_of_the_list_exists():
    for row in faults.read_faults():
        assert row["fault"] and row["now"] and row["tests"]
        for name in row["tests"]:
            file, _, function = name.partition("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_page():
    row = {
        "kind": "text",
        "fault": "f",
        "now": "n",
        "tests": {"tests/a.py::test_b": {"passed": 2, "skipped": 0, "failed": 1}},
    }
    page = faults.render({"rows": [row], "command": "c", "versions": {"x": "1"}})
    assert "## Text" in page and "`tests/a.py::test_b`: 2 passed, 1 failed" in page
