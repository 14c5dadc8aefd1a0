"""The benchmark of a single stream compares runs that draw the same tokens."""

import argparse

import engine_step

from tests.factories import tiny_model


def test_the_engine_and_the_packed_loop_give_equal_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_step, "TEXT", "Hello.")
    monkeypatch.setattr(engine_step.torch, "set_num_threads", lambda _: None)
    model = str(tiny_model(tmp_path / "tiny"))
    (found,) = engine_step.measure(argparse.Namespace(model=model, runs=1, threads=1))
    assert found["equal"] and found["tokens"] > 10 and len(found["rows"]) == 4
