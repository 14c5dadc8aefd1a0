"""Both loops of the speed benchmark are the same training, at sizes of a second."""

import json

import distill_scaling
import distill_speed
import pytest

pytest.importorskip("transformers")
TINY = "--tiny --no-compile --device cpu --precision float32 --tokens 256 --length 64 --loss-chunk 100 --seconds 0.2"


def test_both_loops_have_the_same_losses(tmp_path):
    out = tmp_path / "speed.json"
    distill_speed.main([*TINY.split(), "--out", str(out)])
    result = json.loads(out.read_text())
    ours, plain = result["loops"]["mamtra"], result["loops"]["plain"]
    assert ours["losses"][:3] == pytest.approx(plain["losses"][:3], rel=1e-4)
    assert ours["losses"][-1] < ours["losses"][0]
    assert result["speedup"] == pytest.approx(plain["seconds_a_step"] / ours["seconds_a_step"])
    assert ours["tokens_per_second"] == pytest.approx(256 / ours["seconds_a_step"])
    assert f"{result['speedup']:.2f} times as fast" in out.with_suffix(".md").read_text()


def test_operations_of_cosyvoice2():
    """Mostly linear layers: a multiply-accumulate a weight of the teacher, three of the student, which has 10 M more."""
    flops = distill_speed.step_flops(distill_speed.cosyvoice2_config(), "1:1", 1, 2048)
    assert flops / 2048 == pytest.approx(2 * (0.364e9 + 3 * 0.374e9), rel=0.1)


def test_one_process_alone_and_together(tmp_path):
    out = tmp_path / "scaling.json"
    distill_scaling.main([*TINY.split(), "--out", str(out)])
    result = json.loads(out.read_text())
    alone, together = result["phases"]["alone"], result["phases"]["together"]
    assert result["efficiency"] == pytest.approx(together["positions_a_second"] / alone["positions_a_second"])
    assert result["gradient_bytes"] > 0 and f"{result['efficiency']:.3f}" in out.with_suffix(".md").read_text()
