"""Fewer bits cost something, and bfloat16 the least."""

from __future__ import annotations

import argparse

import weight_types

from tests.factories import tiny_model


def test_every_type_is_compared_with_full_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_types, "read_sentences", lambda: ["Hello.", "Good morning."])
    monkeypatch.setattr(weight_types.torch, "set_num_threads", lambda _: None)
    model = str(tiny_model(tmp_path / "tiny"))
    *_, found = weight_types.measure(argparse.Namespace(model=model, texts=2, threads=1))
    rows = {row["weights"]: row for row in found["rows"]}
    assert rows["float32"]["logit_error"] == 0 < rows["bfloat16"]["logit_error"] < rows["int8"]["logit_error"]
    assert rows["int8"]["logit_error"] < rows["fp8"]["logit_error"] < 0.2
    circumstances = {
        "command": "c", "commit": "", "hardware": {"cpu": "", "cores": 1, "threads": 1, "system": ""}, "versions": {},
    }  # fmt: skip
    assert "| fp8 |" in weight_types.render({**found, **circumstances})
