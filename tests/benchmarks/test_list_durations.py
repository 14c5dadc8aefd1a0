from __future__ import annotations

import json
from pathlib import Path

import list_durations
import numpy as np
import pytest

HEARD = {"whole": "Salt and oil and bread.", "less": "Salt and bread.", "more": "Salt and oil and oil and bread."}


def test_what_was_heard_is_less_or_more() -> None:
    assert [list_durations.heard_change(HEARD["whole"], text) for text in HEARD.values()] == [0, -1, 1]


def test_agreement_and_area() -> None:
    flagged, heard = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)
    assert list_durations.agreement(flagged, heard) == {"flagged": 2, "both": 1, "kappa": pytest.approx(0.5)}
    assert list_durations.agreement(heard, heard)["kappa"] == 1
    assert list_durations.area(np.array([3.0, 3, 1, 0]), heard) == pytest.approx(5 / 6)
    assert list_durations.area(np.array([1.0]), np.array([False])) is None


def test_page(tmp_path: Path, monkeypatch) -> None:
    """One sentence of ten ids takes ten tokens; the seed that lost a word takes six."""
    sentences = {name: [{"id": f"{name}-a", "category": "and", "text": HEARD["whole"]}] for name in ("test", "dev")}
    spoken = []

    class Speaker:
        def __call__(self, wanted):
            sentence, seed = wanted
            spoken.append(seed)
            first, runs = (6, 2) if seed == 1 else (10, 1)
            row = {"id": sentence["id"], "seed": seed, "runs": runs, "first": first, "kept": 10}
            return {**row, "ids": 10, "pauses": 0}

    monkeypatch.setattr(list_durations, "Speaker", Speaker)
    monkeypatch.setattr(list_durations, "read_lists", sentences.__getitem__)
    heard = {0: "whole", 1: "less", 2: "whole", 3: "less"}
    rows = [
        {"id": "test-a", "seed": seed, "runs": 2 if seed == 1 else 1, "first": HEARD[name], "kept": HEARD["whole"]}
        for seed, name in heard.items()
    ]
    judged, out = tmp_path / "lists.json", tmp_path / "list_durations.json"
    judged.write_text(json.dumps({"set": "test", "commit": "c", "judge": {"asr": "a judge"}, "rows": rows}))
    command = ["--run", str(tmp_path / "run"), "--judged", str(judged), "--out", str(out)]
    list_durations.main(command)
    found = json.loads(out.read_text())["lists"]
    assert (found["utterances"], found["same_number_of_runs"], found["short"], found["short_not_repeated"]) == (
        4,
        4,
        2,
        1,
    )
    for measure in ("expected", "others"):
        at = found["measures"][measure]["shares"]["15"]
        assert (at["short"]["flagged"], at["short"]["both"], at["short_not_repeated"]) == (1, 1, 0)
        assert found["share"][f"first_{measure}"][0] == 25 and found["share"][f"kept_{measure}"][0] == 0
    assert "4 utterances" in out.with_suffix(".md").read_text() and len(spoken) == 5
    list_durations.main(command)
    assert len(spoken) == 5, "what is in the run folder is not spoken again"
    with pytest.raises(SystemExit, match="run this again"):
        list_durations.main([*command, "--run", str(tmp_path / "other"), "--minutes", "0"])
