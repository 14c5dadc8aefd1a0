"""The comparison of the two runtimes: its picture, and parts that are kept."""

import pytest
import runtime


def test_the_picture_shows_hundredths():
    parts = dict(zip(runtime.STAGES, (0.02, 0.031, 0.0), strict=True))
    assert runtime.bars({"onnx": parts}).splitlines()[1] == "onnx ▓▓▒▒▒"


def test_a_measurement_goes_on_where_it_ended(tmp_path, monkeypatch):
    """With --resume parts of the file stay, and the page has those that are there."""
    made, out = [], tmp_path / "runtime.json"

    def part(name, found):
        return lambda *_: made.append(name) or found

    speeds = {"onnx": {"rtf": 0.1, "rtf cpu": 0.2, "first": 0.08, "first cpu": 0.09}}
    monkeypatch.setattr(runtime, "fresh", part("fresh", {"onnx": {"cpu": 1.0, "wall": 0.8, "mebibytes": 150.0}}))
    monkeypatch.setattr(runtime, "warm", part("warm", speeds))
    monkeypatch.setattr(runtime, "stages", lambda *_: 1 / 0)
    monkeypatch.setattr(runtime, "steps", part("steps", {"int8": {str(rows): 2.0 for rows in runtime.ROWS}}))
    with pytest.raises(ZeroDivisionError):
        runtime.main(["--out", str(out)])
    page = out.with_suffix(".md").read_text()
    assert made == ["fresh", "warm"] and "| onnx | 0.100 | 0.200 | 80 | 90 |" in page and "With one core" not in page
    monkeypatch.setattr(runtime, "stages", part("stages", {"onnx": dict.fromkeys(runtime.STAGES, 0.05)}))
    runtime.main(["--out", str(out), "--resume"])
    page = out.with_suffix(".md").read_text()
    assert (
        made[2:] == ["stages", "steps", "warm"] and "## With one core" in page and "## A step of the language" in page
    )
