"""The slope of a server's memory, and its page."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from soak import TRIM, children, counted, render, resident, slope


def test_the_slope_and_its_interval():
    draws = np.random.default_rng(0)
    seconds = np.arange(0, 1800, 90.0)
    flat = slope([(t, 200 + draws.normal(0, 1)) for t in seconds])
    assert flat["low"] < 0 < flat["high"] and flat["high"] - flat["low"] < 8
    grown = slope([(t, 200 + 30 * t / 3600) for t in seconds])
    assert grown["slope"] == pytest.approx(30) and grown["low"] == pytest.approx(30)
    assert counted([(float(t), 0.0) for t in range(11)])[0][0] == 2


def test_a_process_gives_memory_back_when_it_is_told_to(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(TRIM)
    work = """
import sys
held = [bytes(1000) for _ in range(60000)]
kept = bytes(1000)
del held
print("ready", flush=True)
sys.stdin.readline()
"""
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), PYTHONMALLOC="malloc", MALLOC_TRIM_THRESHOLD_="1000000000")
    with subprocess.Popen(
        [sys.executable, "-c", work], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        before = resident(process.pid)
        assert process.pid in children(os.getpid())
        process.send_signal(signal.SIGUSR1)
        while resident(process.pid) > before - 40:
            assert process.poll() is None
        process.communicate("end\n")
    assert resident(process.pid) == 0


def test_the_page():
    rests = [[float(t), 100.0 + t / 100, 50.0] for t in range(0, 660, 60)]
    about = {"command": "x", "commit": "y", "hardware": {"cpu": "z", "cores": 2, "threads": 2}, "versions": {}}
    found = {
        "minutes": 11, "listeners": 2, "runtime": "onnx", "front_processes": 0, "good": 9, "requests": 9, "with_gaps": 1,
        "rests": rests, "most": 130.0,
    }  # fmt: skip
    page = render({**found, **about})
    assert "9 good answers of 9, 1 with gaps, never more than 130 MiB" in page
    assert "| at rest | 101 | 106 | +36.0 (+36.0 to +36.0) | +36.0 (+36.0 to +36.0) | +36.0 (+36.0 to +36.0) |" in page
    page = render({**found, **about, "front_processes": 2})
    assert "with 2 front processes" in page and "| front processes, at rest | 50 | 50 | +0.0" in page
