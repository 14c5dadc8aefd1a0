"""The report is one well-formed page with everything in it."""

from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from mamtra.audio.io import write_audio
from mamtra.cli import main
from mamtra.evaluate.html_report import _chart
from mamtra.evaluate.score_file import ScoreFile

VOID = {"meta", "img", "rect"}


class Page(HTMLParser):
    """Checks that elements close in order, and keeps what a test looks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.classes = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.sources += [found["src"]] if "src" in found else []
        self.classes += (found.get("class") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def files(tmp_path):
    """Score files of two systems over two utterances, with sound for one of them."""
    write_audio(tmp_path / "a.wav", np.sin(np.arange(24000) / 9).astype(np.float32) / 2, 24000)
    fingerprint = {"system": "first <one>", "set": "s", "set_sha256": "1", "asr": "w", "rules": {}, "metrics": {}}
    rows = [
        {"id": "a", "text": "t", "reference": "the old red hat is here", "hypothesis": "the old bed hat is here"},
        {"id": "b", "text": "t", "reference": "good night & farewell", "error": "there is no sound"},
    ]  # fmt: skip
    rows[0]["sound"] = str(tmp_path / "a.wav")
    found = []
    for name in ("first <one>", "second"):
        scores = ScoreFile(tmp_path / f"{name[:5].strip()}.jsonl", {**fingerprint, "system": name})
        for row in rows:
            scores.add(row)
        found.append(str(scores.path))
    return found


def test_a_page_with_sound_pictures_and_marks(files, tmp_path):
    out = tmp_path / "out" / "r.html"
    assert main(["report", *files, "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert (
        all(source.startswith("data:") for source in page.sources) and len(page.sources) == 4
    )  # two players, two pictures
    assert "http" not in text
    assert {"sortable", "replace", "delete", "class"} <= set(page.classes)
    assert "first &lt;one&gt;" in text and "first <one>" not in text
    assert "second against first" in text and "missing" in text


def test_everything_wide_scrolls_inside_the_window(files, tmp_path):
    """No table or picture is wider than the window, however many systems there are."""
    out = tmp_path / "r.html"
    assert main(["report", *files * 3, "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    wide = text.count('<div class="wide">')
    assert wide == text.count("<table") + text.count("<svg") > 4


@pytest.mark.parametrize("systems", [1, 2, 5, 8])
def test_captions_of_bars_do_not_overlap(systems):
    summaries = [
        {"failures": {name: {"wer_english": 20.0 * n + 0.1 * i} for n, name in enumerate(("1-5", "6-10", "31+"))}}
        for i in range(systems)
    ]
    chart = _chart(summaries)
    assert len(chart["bars"]) == 3 * systems and chart["labels"][0][1] == "1-5 words"
    places = sorted((bar["x"], bar["caption"]) for bar in chart["bars"])
    ends = [x + 7 * len(caption) for x, caption in places]  # 11 px figures are 6 to 7 px wide
    assert all(end <= x for end, (x, _) in zip(ends, places[1:], strict=False)) and ends[-1] <= chart["width"]
    starts = [x for x, _ in chart["labels"]]
    assert all(b - a >= 7 * len("6-10 words") or systems == 1 for a, b in pairwise(starts))


def test_without_media(files, tmp_path):
    assert main(["report", files[0], "-o", str(tmp_path / "r.html"), "--no-media"]) == 0
    assert Page((tmp_path / "r.html").read_text(encoding="utf-8")).sources == []


def test_unlike_fingerprints_are_reported(files, tmp_path):
    text = (tmp_path / files[1]).read_text(encoding="utf-8").replace('"asr": "w"', '"asr": "v"')
    (tmp_path / files[1]).write_text(text, encoding="utf-8")
    assert main(["report", *files, "-o", str(tmp_path / "r.html")]) == 0
    assert "must not be compared: asr: w against v" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_no_score_file(refused):
    for words in (["report", "none.jsonl"], ["compare", "none.jsonl", "none.jsonl"]):
        assert "no score file" in refused(words)
