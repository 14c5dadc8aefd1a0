"""Repetition-aware sampling against decisions of the original, and its rules one by one."""

from __future__ import annotations

import json

import pytest
import torch

from mamtra.engine.sampling import RASConfig, greedy, nucleus, ras_sample


def decisions(golden):
    return json.loads((golden.root / "ras_cases.json").read_text())


def test_nucleus_sets(golden, agree):
    g, settings = golden["ras_sampling"], decisions(golden)["params"]
    for i, logits in enumerate(g["logits"]):
        p, ids = nucleus(torch.log_softmax(logits, -1), settings["top_p"], settings["top_k"])
        agree("nucleus", ids, g[f"nucleus_ids_{i}"])
        agree("its probabilities", p, g[f"nucleus_probs_{i}"], 1e-6)


def test_every_decision(golden, agree):
    logits, found = golden["ras_sampling"]["logits"], decisions(golden)
    cases, config = found["cases"], RASConfig(**found["params"])

    def draw(case):
        generator = torch.Generator().manual_seed(case["seed"])
        return ras_sample(torch.log_softmax(logits[case["logits"]], -1), case["history"], generator, config=config)

    drawn = [draw(case) for case in cases]
    agree("drawn tokens", drawn, [case["token"] for case in cases])


def test_repetition_is_drawn_again_from_all_other_ids():
    logits = torch.full((50,), -20.0)
    logits[7] = 20.0  # a nucleus of one
    g = torch.Generator().manual_seed(0)
    assert ras_sample(logits, [7] + [1] * 10, g) == 7, "outside the window"
    drawn = {ras_sample(logits, [7] + [1] * 9, g) for _ in range(40)}
    assert 7 not in drawn and len(drawn) > 10


def test_excluded_ids_never_come():
    logits = torch.zeros(6)
    logits[2:] = float("-inf")
    g = torch.Generator().manual_seed(0)
    assert {ras_sample(logits, [0] * 10, g, config=RASConfig(top_k=6)) for _ in range(20)} == {1}


def test_no_window_means_no_second_draw():
    logits = torch.tensor([9.0, 0.0])
    g = torch.Generator().manual_seed(0)
    assert ras_sample(logits, [0, 0], g, config=RASConfig(win_size=0, top_k=1)) == 0


@pytest.mark.parametrize("top_p, top_k, size", [(0.5, 25, 2), (0.74, 25, 3), (1.0, 2, 2), (0.01, 5, 1), (1.0, 99, 4)])
def test_nucleus_size_and_order_of_ties(top_p, top_k, size):
    p, ids = nucleus(torch.log(torch.tensor([0.1, 0.25, 0.4, 0.25])), top_p, top_k)
    assert ids.tolist() == [2, 1, 3, 0][:size]
    torch.testing.assert_close(p, torch.tensor([0.4, 0.25, 0.25, 0.1])[:size])


def test_greedy():
    assert greedy(torch.tensor([0.0, 3.0, 1.0]), []) == 1
