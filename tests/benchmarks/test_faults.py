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
