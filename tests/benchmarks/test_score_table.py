"""Score files become a page with figures, differences and times; files that were measured differently do not."""

import json

import pytest

score_table = pytest.importorskip("score_table")

FINGERPRINT = {
    "set": "s.lst",
    "set_sha256": "1",
    "lines": 12,
    "asr": "stand-in",
    "asr_sha256": "0",
    "rules": {},
    "metrics": {},
}


def write(path, hypothesis, **fingerprint):
    rows = [
        {
            "id": str(i),
            "reference": "red green blue",
            "hypothesis": hypothesis,
            "spent": {"speaking": 1.5},
            "similarity_to_prompt": 0.5,
        }
        for i in range(12)
    ]
    lines = [{"fingerprint": {**FINGERPRINT, "system": path.stem, **fingerprint}}, *rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_page(tmp_path):
    files = [write(tmp_path / "ground_truth.jsonl", "red green blue"), write(tmp_path / "a.jsonl", "red green")]
    score_table.main([*files, "--title", "Two", "--out", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["systems"]["a"]["figures"]["wer_english"]["value"] == pytest.approx(100 / 3)
    assert found["differences"]["a"]["figures"]["wer_english"]["difference"] == pytest.approx(100 / 3)
    page = (tmp_path / "out.md").read_text()
    assert "# Two" in page and "33.33 [33.33, 33.33]" in page and "| a | 18 |" in page


def test_files_that_cannot_be_compared(tmp_path):
    files = [write(tmp_path / "a.jsonl", "red"), write(tmp_path / "b.jsonl", "red", asr="other")]
    with pytest.raises(SystemExit, match="b was measured differently"):
        score_table.main([*files, "--out", str(tmp_path / "out.json")])
