"""The command runs, and its page says what the figures say."""

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
    assert "1 x 64 positions" in (tmp_path / "decode.svg").read_text()
    row = result["steps"][0]
    assert f"| 1:0 | 1 | 64 | {row['ms']:.3f} |" in page


def test_what_products_at_their_limit_would_gain():
    """1 TB/s; teacher 2 ms, 1:5 hybrid 1 ms, 1:1 hybrid 1.5 ms, of which products are 0.4 ms above their bytes."""
    about = {"system": "engine", "rows": 32, "length": 8192, "least_ms": 0.0, "most_ms": 0.0}
    steps = [
        about | {"ratio": ratio, "ms": ms, "bytes": 5e8} for ratio, ms in (("1:0", 2.0), ("1:1", 1.5), ("1:5", 1.0))
    ]
    kernels = {
        "gate and up": {"us": 500, "calls": 1, "bytes": 1e8}, "attention": {"us": 300, "calls": 1, "bytes": 2e8},
        "sampler": {"us": 40, "calls": 1, "bytes": 0}, "head": {"us": 10, "calls": 1, "bytes": 2e7},
    }  # fmt: skip
    page = render({
        "command": "c", "versions": {}, "tiny": False, "device": "d", "bandwidth": 1e12, "steps": steps, "skipped": 0,
        "profiles": [{"ratio": "1:1", "rows": 32, "length": 8192, "kernels": kernels}],
    })  # fmt: skip
    assert "| 32 | 8192 | 1.000 | 0.400 | 0.100 | 0.000 | 0.040 | 1.100 | 45% |" in page
    assert "| 1:1 | 0.75 | 0.69 | 0.72 |" in page and "| 1:5 | 0.50 | 0.37 | 0.48 |" in page


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
