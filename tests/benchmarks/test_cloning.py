from __future__ import annotations

import json
import shutil
from pathlib import Path

import cloning

from mamtra.evaluate.sets import read_set


def test_page(tmp_path: Path, monkeypatch) -> None:
    rows = ["path\tspeaker\tseconds"]
    for number, line in enumerate(read_set("sample").lines[:3]):
        shutil.copy(line.ground_truth, tmp_path / f"{number}.ogg")
        rows.append(f"{number}.ogg\tlibrispeech-{number}\t{[6, 6, 3][number]}")
    (tmp_path / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(cloning, "SECONDS", 2.0)
    some = ("as it is", "level -20 dB", "gap of 2 s")
    monkeypatch.setattr(cloning, "CHANGES", {name: cloning.CHANGES[name] for name in some})
    out = tmp_path / "results" / "cloning.json"
    cloning.main(["--speech", str(tmp_path), "--speakers", "9", "--out", str(out)])
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["speakers"] == 2  # the third is too short
    plain, quiet, gap = results["rows"]
    assert abs(plain["before"]["cosine"] - 1) < 1e-5 and plain["after"]["nearest_is_own"] == 2
    assert quiet["after"]["cosine"] > 0.99 and gap["after"]["cosine"] > gap["before"]["cosine"]
    assert results["advice"]["gap of 2 s"]["pause"] == 2 and results["advice"]["as it is"]["pause"] == 0
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| level -20 dB |" in page and "| two speakers, half each |" in page and str(tmp_path) not in page
    assert cloning.render(results) == page
