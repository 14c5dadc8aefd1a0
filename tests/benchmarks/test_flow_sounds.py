import flow_sounds
import numpy as np
import paired_scores
import pytest


def test_lines_that_every_variant_has_are_side_by_side(tmp_path, judges):
    scores = paired_scores.PairedScores(tmp_path, ["a", "b"], "w", 1)
    sounds = {name: np.full(24000, level, np.float32) for name, level in (("a", 0.1), ("b", 0.2))}
    for name, keep in (("apple", True), ("banana", False), ("cherry", True)):
        line = paired_scores.Line(name, f"This is sentence {name}.", f"this is sentence {name}")
        scores.add(line, sounds, 24000, keep=keep)
    (tmp_path / "sounds" / "b" / "cherry.wav").unlink()
    words = ["--run", str(tmp_path), "--variants", "a", "b", "--out"]
    flow_sounds.main([*words, str(tmp_path / "x.html")])
    page = (tmp_path / "x.html").read_text()
    assert "apple" in page and "banana" not in page and "cherry" not in page
    assert page.count("data:audio") == 2 and str(tmp_path) not in page
    (tmp_path / "sounds" / "b" / "apple.wav").unlink()
    with pytest.raises(SystemExit, match="no line"):
        flow_sounds.main([*words, str(tmp_path / "y.html")])
