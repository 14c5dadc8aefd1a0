"""Layer plans: the table for 24 layers, other depths, and mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.models.plan import STRATEGIES, LayerPlan

RANKING = [23, 0, 11, 5, 17, 2, 8, 20, 14, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22]

GOLDEN = {
    ("1:1", "block-beg"): range(0, 24, 2),
    ("1:3", "block-beg"): [0, 4, 8, 12, 16, 20],
    ("1:5", "block-beg"): [0, 6, 12, 18],
    ("1:11", "block-beg"): [0, 12],
    ("1:1", "block-end"): range(1, 24, 2),
    ("1:3", "block-end"): [3, 7, 11, 15, 19, 23],
    ("1:5", "block-end"): [5, 11, 17, 23],
    ("1:11", "block-end"): [11, 23],
    ("1:1", "front"): range(12, 24),
    ("1:3", "front"): range(18, 24),
    ("1:5", "front"): range(20, 24),
    ("1:11", "front"): [22, 23],
    ("1:1", "back"): range(12),
    ("1:3", "back"): range(6),
    ("1:5", "back"): range(4),
    ("1:11", "back"): [0, 1],
    ("1:1", "middle"): [*range(6), *range(18, 24)],
    ("1:3", "middle"): [0, 1, 2, 21, 22, 23],
    ("1:5", "middle"): [0, 1, 22, 23],
    ("1:11", "middle"): [0, 23],
    ("1:1", "sandwich"): range(6, 18),
    ("1:3", "sandwich"): range(9, 15),
    ("1:5", "sandwich"): range(10, 14),
    ("1:11", "sandwich"): [11, 12],
    ("1:5", "importance-wer"): [0, 5, 11, 23],
    ("1:11", "importance-cosine"): [0, 23],
}


@pytest.mark.parametrize("ratio, strategy", GOLDEN)
def test_24_layers(ratio, strategy):
    ranking = RANKING if strategy.startswith("importance") else None
    assert LayerPlan.from_ratio(24, ratio, strategy, ranking).attention_layers == tuple(GOLDEN[ratio, strategy])


def test_zonos_is_block_beg():
    assert LayerPlan.from_ratio(46, "1:3").attention_layers == tuple(range(0, 46, 4))


def test_extreme_ratios():
    assert LayerPlan.from_ratio(5, "1:0").mamba_layers == ()
    assert LayerPlan.from_ratio(5, "0:1").attention_layers == ()
    assert LayerPlan.from_ratio(8, "2:2").attention_layers == (0, 1, 4, 5)


@given(st.integers(1, 60), st.integers(0, 4), st.integers(0, 12), st.sampled_from(STRATEGIES[:-1]))
def test_every_strategy_keeps_the_same_number(layers, kept, mamba, strategy):
    if kept + mamba == 0:
        return
    plan = LayerPlan.from_ratio(layers, f"{kept}:{mamba}", strategy, list(range(layers)))
    reference = LayerPlan.from_ratio(layers, f"{kept}:{mamba}", "block-beg")
    assert len(plan.attention_layers) == len(reference.attention_layers)
    assert sorted(plan.attention_layers + plan.mamba_layers) == list(range(layers))
    kinds = "".join("a" if kind == "full_attention" else "m" for kind in plan.layer_types)
    if strategy == "block-end":
        assert plan.layer_types == reference.layer_types[::-1]
    if strategy in ("front", "back", "middle"):
        assert len([run for run in kinds.split("a") if run]) <= 1
    if strategy in ("front", "back", "sandwich"):
        assert len([run for run in kinds.split("m") if run]) <= 1


def test_explicit():
    plan = LayerPlan.explicit(4, [3, 1])
    assert plan.layer_types == ("linear_attention", "full_attention") * 2
    assert (plan.strategy, plan.ratio, plan.num_layers) == ("explicit", None, 4)


@pytest.mark.parametrize(
    "args, words",
    [
        ((24, "1-3"), "1:3"),
        ((24, "0:0"), "1:3"),
        ((0, "1:1"), "at least 1"),
        ((24, "1:1", "best"), "block-beg"),
        ((24, "1:1", "importance-wer"), "mamtra rank"),
        ((4, "1:1", "importance-wer", [0, 1, 2, 2]), "ranking of all 4"),
    ],
)
def test_mistakes_are_named(args, words):
    with pytest.raises(MamTraError, match=words):
        LayerPlan.from_ratio(*args)


def test_explicit_outside():
    with pytest.raises(MamTraError, match=r"0\.\.3"):
        LayerPlan.explicit(4, [4])
