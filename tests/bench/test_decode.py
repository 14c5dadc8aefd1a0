"""The command runs, and its page says what the figures say."""

from __future__ import annotations

import json

import torch

from mamtra.bench import decode
from mamtra.bench.decode_page import render
from mamtra.cli import main
from tests.rerun import FakeCuda


def test_decode(tmp_path):
    assert main(["bench", "decode", "--tiny", "--device", "cpu", "-o", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "decode.json").read_text())
    assert {row["ratio"] for row in result["steps"]} == {"1:0", "1:1", "1:5", "1:11"} and not result["skipped"]
    assert str(tmp_path) not in result["command"]
    page = (tmp_path / "decode.md").read_text()
    assert page == render(result)
    row = result["steps"][0]
    assert f"| 1:0 | 1 | 64 | {row['ms']:.3f} |" in page


def test_a_call_is_captured_once_and_replayed(monkeypatch):
    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            pass

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 8.0

    fake, runs = FakeCuda(monkeypatch), []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    with torch.inference_mode():
        times = decode.timed(lambda: runs.append(1), torch.device("cpu"), fake.backend)
    assert times == [8.0 / decode.REPLAYS] * decode.REPEATS and len(runs) == 2  # warm-up and capture
    assert fake.calls.count(("replay",)) == decode.WARM + decode.REPEATS * decode.REPLAYS
    assert [call[0] for call in fake.calls[:4]] == ["synchronize", "empty_cache", "begin", "end"]
