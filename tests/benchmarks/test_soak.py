"""The slope of a server's memory, and its page."""

import numpy as np
import pytest
from soak import render, slope


def test_the_slope_counts_what_follows_the_warm_up():
    draws = np.random.default_rng(0)
    seconds = np.arange(1800.0)
    size = 200 + 100 * np.minimum(1, seconds / 300) + draws.normal(0, 1, 1800)
    flat = slope(list(zip(seconds, size, strict=True)))
    assert flat["low"] < 0 < flat["high"] and flat["high"] - flat["low"] < 2
    grown = slope(list(zip(seconds, size + seconds / 3600 * 30, strict=True)))
    texts = size + 50 * (np.arange(1800) % 10 > 0) * seconds / 1800
    assert slope(list(zip(seconds, texts, strict=True)))["low"] > 30
    between = slope(list(zip(seconds, texts, strict=True)), np.min)
    assert between["low"] < 3 and between["high"] > -3
    assert grown["slope"] == pytest.approx(flat["slope"] + 30, abs=1) and grown["low"] > 28


def test_the_page():
    samples = [[float(n), 100.0 + n / 100] for n in range(600)]
    about = {
        "command": "x",
        "commit": "y",
        "hardware": {"cpu": "z", "cores": 2, "threads": 2},
        "versions": {},
    }
    found = {
        "minutes": 10,
        "listeners": 2,
        "runtime": "onnx",
        "good": 9,
        "requests": 9,
        "with_gaps": 1,
        "samples": samples,
    }
    page = render({**found, **about})
    assert "9 good answers of 9, 1 with gaps, never more than 106 MiB" in page
    assert "| between texts (smallest) | 101 | 106 | +36.0 (+36.0 to +36.0) |" in page
    assert "| while it speaks (median) | 101 | 106 | +36.0 (+36.0 to +36.0) |" in page
