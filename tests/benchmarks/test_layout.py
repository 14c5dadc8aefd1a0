"""Figures of a layout are those of a tree small enough to count by hand."""

import layout

FILES = {
    "src/mamtra/__init__.py": "",
    "src/mamtra/tts.py": "import os\n",
    "src/mamtra/a/__init__.py": "",
    "src/mamtra/a/x.py": "from mamtra.a import y\nfrom mamtra.b.z import Z\n",
    "src/mamtra/a/y.py": "def f():\n    from mamtra.a.x import g\n    return torch.cuda.CUDAGraph()\n",
    "src/mamtra/b/__init__.py": "",
    "src/mamtra/b/z.py": "if TYPE_CHECKING:\n    from mamtra.a import x\n",
    "benchmarks/one.py": 'rule = ["---"]\nos.replace("a", "b")\n',
    "tests/test_x.py": "pass\n",
}


def test_counts(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = layout.count(tmp_path)
    assert (found["files"], found["lines"], found["script_lines"], found["test_lines"]) == (7, 8, 2, 1)
    assert (found["loose"], found["longest"]) == (2, 3)
    assert found["rooms"] == {"a": 5, "b": 2}
    assert (found["circles_of_modules"], found["circles_of_rooms"]) == (
        2,
        0,
    )  # x and y; what is for type checkers is none
    assert found["files that make a CUDA graph"] == found["files that write a partial file and rename it"] == 1
    (tmp_path / "src/mamtra/b/z.py").write_text("import mamtra.a.y\n")
    assert layout.count(tmp_path)["circles_of_rooms"] == 2
