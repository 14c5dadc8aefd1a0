"""The parity page: every behaviour names tests that exist, and the figures are those that the tests noted."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import parity
import parity_original
import parity_page
import parity_prompts
import parity_vectors
import pytest

from mamtra.audio.io import write_audio

ROOT = Path(__file__).parents[2]


def test_every_behaviour_names_tests_that_exist():
    rows = parity.behaviours()
    assert len(rows) > 20 and all(row["tests"] and row["original"] and row["ours"] for row in rows)
    for test in {test for row in rows for test in row["tests"]}:
        path, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_the_page_has_the_behaviours_of_today():
    record = json.loads((ROOT / "docs" / "parity.json").read_text(encoding="utf-8"))
    assert record["behaviours"] == parity.behaviours()
    assert {"vectors", "fixtures", "speeds", "prompts", "original", "third"} <= set(record["parts"]), (
        "a part has not been measured"
    )


def test_what_tests_note_is_collected(tmp_path):
    def case(name, *notes):
        words = "".join(f"<property name='parity' value='{json.dumps(note)}'/>" for note in notes)
        return f"<testcase classname='tests.a.test_b' name='{name}'><properties>{words}</properties></testcase>"

    def note(what, difference, of, below):
        return {"what": what, "difference": difference, "of": of, "below": below}

    xml = case("test_c[1]", note("mel", 1e-6, 2.0, 1e-5), note("ids", 0, 5, 0)) + case("test_d")
    xml += case("test_c[2]", note("mel", 3e-6, 1.0, 1e-5), note("ids", 1, 7, 0))
    found = parity_vectors.noted(ElementTree.fromstring(f"<testsuite>{xml}</testsuite>"))
    assert found == {"tests/a/test_b.py::test_c": [note("mel", 3e-6, 1.0, 1e-5), note("ids", 1, 12, 0)]}
    row = {"behaviour": "b", "original": "o", "ours": "the same", "measured": "", "tests": list(found)}
    made = {"command": "c", "versions": {}}
    page = parity_page.render({"behaviours": [row], "parts": {"vectors": {"made": made, "tests": found}}})
    assert "mel: 3.0e-6 of 1 (bound 1.0e-5)<br>ids: 1 of 12" in page and "`vectors`: made by `c`" in page


def test_a_recording_through_both_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(parity_prompts, "RATES", (8000, 16000, 22050))
    write_audio(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 9600).astype(np.float32), 24000)
    rows = list(parity_prompts.prompts([tmp_path / "a.wav"], tmp_path, seconds=0.4))
    assert [row["rate"] for row in rows] == [8000, 16000, 22050] and "sample rate of 8000" in rows[0]["refused"]
    for row in rows[1:]:
        assert row["tokens"] == 10 and row["like_original"]["tokens_changed"] == 0
        assert max(row["like_original"][name] for name in ("mel", "log_mel", "filter_bank")) < 1e-3
    assert rows[2]["not_like_original"]["mel"] > 5e-3


def test_speeds_are_those_of_the_definition():
    (row,) = parity_prompts.speeds((1.3,))
    assert all(wanted == made == max(1, int(frames / 1.3)) for frames, wanted, made in row["lengths"])
    assert row["difference"] < 1e-3


def test_texts_for_both_front_ends(tmp_path):
    texts = parity_original.mixed_texts()
    assert len(texts) == 40 == len(set(texts)) and any("\n" in text for text in texts)
    paragraphs = parity_original.random_paragraphs(texts)
    assert len(paragraphs) == 100 and paragraphs == parity_original.random_paragraphs(texts)
    mamtra = pytest.importorskip("mamtra")
    pytest.importorskip("wetext")
    tts = mamtra.load(parity_original.write_directory(tmp_path, texts))
    assert "".join(tts.model.text.decode(list(part.ids)) for part in tts.model.text.iterate(texts[0])) == texts[0]
