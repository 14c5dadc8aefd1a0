from __future__ import annotations

import json
from pathlib import Path

import lists
import numpy as np

HEARD = {1: "Knock, knock went the old door.", 5: "Knock, knock, knock went the old door."}


def test_sets_are_apart_and_no_id_comes_twice() -> None:
    dev, test = lists.read_lists("dev"), lists.read_lists("test")
    assert len(dev) == len(test) == 60 and not {row["text"] for row in dev} & {row["text"] for row in test}
    assert len({row["id"] for row in dev + test}) == 120


def test_an_item_is_told_from_a_misheard_letter() -> None:
    assert not lists.is_wrong("It was the green boat.", "It was the green goat.")
    assert lists.is_wrong("Press one, then two, then one.", "Press 1, then 2, then 2.")
    assert lists.is_wrong("Knock, knock, knock.", "Knock, knock.") and lists.is_wrong(
        "Salt and oil.", "Salt and, and oil, oil."
    )


def test_page(tmp_path: Path, monkeypatch) -> None:
    class Judge:
        def __init__(self) -> None:
            self.about = {"asr": "a judge"}

        def __call__(self, samples, rate):
            return HEARD[len(samples)]

    def utter(tts, text, seed, retries):
        good = seed == 1 or retries.attempts > 1
        return np.zeros(5 if good else 1, np.float32), 1 if seed == 1 or text.startswith("Plain") else 2

    class Voice:
        sample_rate = 24000

    monkeypatch.setattr(lists, "load", lambda **_: Voice())
    monkeypatch.setattr(lists, "open_transcriber", lambda *_: Judge())
    monkeypatch.setattr(lists, "utter", utter)
    monkeypatch.setattr(lists, "Engine", lambda _: lambda text: np.zeros(1, np.float32))
    monkeypatch.setattr(lists, "measure_cost", lambda rows: {"texts": 1, "share_of_speaking": 0.05})
    sentences = [{"id": "a", "set": "test", "category": "same", "text": HEARD[5]}]
    monkeypatch.setattr(lists, "read_lists", lambda _: sentences)
    plain, out = tmp_path / "plain.txt", tmp_path / "results" / "lists.json"
    plain.write_text("Plain words.\n")
    command = [
        "--run",
        str(tmp_path / "run"),
        "--whisper",
        "w",
        "--engine",
        "--plain",
        str(plain),
        "--out",
        str(out),
        "--seeds",
        "2",
    ]
    lists.main(command)
    results = json.loads(out.read_text(encoding="utf-8"))
    found = results["lists"]
    assert (found["utterances"], found["repeated"], found["wrong_and_repeated"]) == (2, 1, 1)
    assert found["first_wrong"][0] == 50 and found["kept_wrong"] == [0, 0, 0] and found["difference_wrong"][0] == -50
    assert found["engine_wrong"][0] == 100 and found["over_engine_wrong"][0] == -100
    assert results["plain"] == {"utterances": 1, "repeated": 0, "difference_wer": [0, 0, 0]}
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "50.0 [0.0, 100.0]" in page and str(tmp_path) not in page
    assert "| kept run, minus source engine | -100.0 " in page
    assert (tmp_path / "run" / "rows.jsonl").read_text().count("\n") == 3
    assert "plain sentences" not in lists.render({**results, "plain": None})
    lists.main(["--render", "--out", str(out)])
    assert out.with_suffix(".md").read_text(encoding="utf-8") == page
