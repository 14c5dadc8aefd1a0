"""Layer plans: the table for 24 layers, other depths, the text form, JSON, and mistakes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.models.plan import IMPORTANCE, STRATEGIES, LayerPlan

RANKING = [23, 0, 11, 5, 17, 2, 8, 20, 14, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22]
RATIOS = ("1:1", "1:3", "1:5", "1:11")

GOLDEN = {
    "block-beg": (range(0, 24, 2), [0, 4, 8, 12, 16, 20], [0, 6, 12, 18], [0, 12]),
    "block-end": (range(1, 24, 2), [3, 7, 11, 15, 19, 23], [5, 11, 17, 23], [11, 23]),
    "front": (range(12, 24), range(18, 24), range(20, 24), [22, 23]),
    "back": (range(12), range(6), range(4), [0, 1]),
    "middle": ([*range(6), *range(18, 24)], [0, 1, 2, 21, 22, 23], [0, 1, 22, 23], [0, 23]),
    "sandwich": (range(6, 18), range(9, 15), range(10, 14), [11, 12]),
    "block-beg+1": (range(1, 24, 2), [1, 5, 9, 13, 17, 21], [1, 7, 13, 19], [1, 13]),
    **dict.fromkeys(
        IMPORTANCE, ([0, 1, 2, 3, 5, 8, 11, 14, 17, 20, 23, 4], [0, 2, 5, 11, 17, 23], [0, 5, 11, 23], [0, 23])
    ),
}
"""Attention layers of 24 by strategy, in the order of RATIOS."""


@st.composite
def plans(draw, strategies=STRATEGIES[:-1]):
    """A plan by ratio of at most 60 layers."""
    kept, mamba = draw(st.tuples(st.integers(0, 5), st.integers(0, 12)).filter(any))
    least = kept + mamba if kept and mamba else 1
    layers = draw(st.integers(least, 60))
    strategy = draw(st.sampled_from(strategies))
    ranking = draw(st.permutations(range(layers))) if strategy in IMPORTANCE else None
    return LayerPlan.from_ratio(layers, f"{kept}:{mamba}", strategy, ranking)


def explicit_plans():
    def build(layers):
        return st.sets(st.integers(0, layers - 1)).map(lambda kept: LayerPlan.explicit(layers, kept))

    return st.integers(1, 60).flatmap(build)


def test_the_table_names_every_strategy():
    assert set(GOLDEN) == set(STRATEGIES) - {"explicit"}


@pytest.mark.parametrize("column, ratio", enumerate(RATIOS))
@pytest.mark.parametrize("strategy", GOLDEN)
def test_24_layers(ratio, column, strategy):
    plan = LayerPlan.from_ratio(24, ratio, strategy, RANKING if strategy in IMPORTANCE else None)
    assert plan.attention_layers == tuple(sorted(GOLDEN[strategy][column]))
    assert len(plan.mamba_layers) == {"1:1": 12, "1:3": 18, "1:5": 20, "1:11": 22}[ratio]


def test_zonos_is_block_beg():
    assert LayerPlan.from_ratio(46, "1:3").attention_layers == tuple(range(0, 46, 4))


def test_extreme_ratios():
    assert LayerPlan.from_ratio(5, "1:0").mamba_layers == ()
    assert LayerPlan.from_ratio(5, "0:1").attention_layers == ()
    assert LayerPlan.from_ratio(5, "0:9").attention_layers == ()
    assert LayerPlan.from_ratio(8, "2:2").attention_layers == (0, 1, 4, 5)
    assert LayerPlan.from_ratio(4, "1:3").attention_layers == (0,)


@given(plans())
def test_every_layer_is_placed_once_and_the_count_fits_the_ratio(plan):
    assert sorted(plan.attention_layers + plan.mamba_layers) == list(range(plan.num_layers))
    kept, mamba = map(int, plan.ratio.split(":"))
    blocks = plan.num_layers / (kept + mamba)
    assert blocks // 1 * kept <= len(plan.attention_layers) <= -(-blocks // 1) * kept
    if blocks == int(blocks):
        assert len(plan.attention_layers) * mamba == len(plan.mamba_layers) * kept


@given(plans(strategies=STRATEGIES[:7]))
def test_every_strategy_keeps_its_shape(plan):
    reference = LayerPlan.from_ratio(plan.num_layers, plan.ratio, "block-beg")
    assert len(plan.attention_layers) == len(reference.attention_layers)
    runs_of_mamba = [run for run in plan.letters.split("A") if run]
    runs_of_attention = [run for run in plan.letters.split("M") if run]
    if plan.strategy == "block-beg+1":
        assert plan.letters == reference.letters[-1:] + reference.letters[:-1]
    if plan.strategy == "block-end":
        assert plan.layer_types == reference.layer_types[::-1]
    if plan.strategy in ("front", "back", "middle"):
        assert len(runs_of_mamba) <= 1
    if plan.strategy in ("front", "back", "sandwich"):
        assert len(runs_of_attention) <= 1
    if plan.strategy == "middle" and plan.mamba_layers:
        ends = [len(run) for run in (plan.letters.split("M")[0], plan.letters.split("M")[-1])]
        assert 0 <= ends[0] - ends[1] <= 1
    if plan.strategy == "sandwich" and plan.attention_layers:
        ends = [len(run) for run in (plan.letters.split("A")[0], plan.letters.split("A")[-1])]
        assert 0 <= ends[0] - ends[1] <= 1


@given(st.integers(1, 4), st.integers(1, 8), st.integers(2, 6))
def test_strategies_differ_where_there_are_two_whole_blocks(kept, mamba, blocks):
    layers = blocks * (kept + mamba)
    placed = [LayerPlan.from_ratio(layers, f"{kept}:{mamba}", name).attention_layers for name in STRATEGIES[:6]]
    assert len(set(placed)) == 6


@given(st.permutations(range(12)), st.sampled_from(IMPORTANCE))
def test_importance_follows_the_ranking(ranking, strategy):
    plan = LayerPlan.from_ratio(12, "1:2", strategy, ranking)
    assert set(plan.attention_layers) == set(ranking[:4])


@given(st.one_of(plans(), explicit_plans()))
def test_text_and_json_round_trip(plan):
    assert LayerPlan.parse(str(plan)) == plan
    assert "\n" not in str(plan) and eval(repr(plan)) == plan
    assert LayerPlan.model_validate_json(plan.model_dump_json()) == plan
    assert LayerPlan.parse(plan.letters).layer_types == plan.layer_types


def test_the_text_form():
    assert str(LayerPlan.from_ratio(8, " 1:03 ")) == "AMMMAMMM block-beg 1:3"
    assert str(LayerPlan.explicit(4, [3, 1])) == "MAMA"


def test_equality():
    plan = LayerPlan.from_ratio(4, "1:1")
    assert plan == LayerPlan.from_ratio(4, "1:1") and hash(plan) == hash(LayerPlan.from_ratio(4, "1:1"))
    assert plan != LayerPlan.from_ratio(4, "1:1", "block-end")
    assert plan != LayerPlan.explicit(4, plan.attention_layers)


def test_explicit():
    plan = LayerPlan.explicit(4, [3, 1])
    assert plan.layer_types == ("linear_attention", "full_attention") * 2
    assert (plan.strategy, plan.ratio, plan.num_layers) == ("explicit", None, 4)


@pytest.mark.parametrize(
    "args, words",
    [
        ((24, "1-3"), "1:3"),
        ((24, "0:0"), "1:3"),
        ((24, "-1:3"), "1:3"),
        ((24, "9" * 5000 + ":1"), "1:3"),
        ((24, 63), "ratio has to be a string"),
        ((0, "1:1"), "at least 1"),
        ((24, "1:24"), "at least 25 layers, but there are 24"),
        ((24, "30:1"), "at least 31 layers"),
        ((24, "1:1", "best"), "block-beg"),
        ((24, "1:1", "explicit"), "block-beg"),
        ((24, "1:1", "importance-wer"), "mamtra rank"),
        ((4, "1:1", "importance-kl", [0, 1, 2, 2]), "ranking of all 4"),
    ],
)
def test_mistakes_are_named(args, words):
    with pytest.raises(MamTraError, match=words):
        LayerPlan.from_ratio(*args)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "AMMMAMMM"),
        ("AMX", "AMMMAMMM"),
        ("AMAM block-beg", "AMMMAMMM"),
        ("AMAM best 1:1", "no strategy"),
        ("AMAM block-beg 1", "Transformer:Mamba"),
        ("AMMA block-beg 1:1", "not what strategy 'block-beg' at ratio 1:1 gives"),
        ("AAAM importance-wer 1:1", "not what strategy"),
        ("AMAM explicit 1:1", "no ratio"),
    ],
)
def test_texts_that_are_no_plan(text, words):
    with pytest.raises(MamTraError, match=words):
        LayerPlan.parse(text)


def test_plans_are_what_they_say():
    with pytest.raises(ValidationError, match="not what strategy"):
        LayerPlan(layer_types=("full_attention", "full_attention"), strategy="block-beg", ratio="1:1")
    with pytest.raises(ValidationError, match="any other plan has one"):
        LayerPlan(layer_types=("full_attention",), strategy="front")


@pytest.mark.parametrize("layers, kept, words", [(4, [4], r"0\.\.3"), (4, [-1], r"0\.\.3"), (0, [], "at least 1")])
def test_explicit_outside(layers, kept, words):
    with pytest.raises(MamTraError, match=words):
        LayerPlan.explicit(layers, kept)


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 2**62}, {"num_hidden_layers": 0}, {"hidden_size": 0}, {"hidden_size": 10**30},
        {"num_key_value_heads": 0}, {"rope_theta": float("inf")}, {"rms_norm_eps": float("nan")}, {"num_hidden_layers": "many"},
        {"head_dim": -2},
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused_at_once(change):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    with pytest.raises(ValidationError):
        BackboneConfig.model_validate({**sizes, "num_key_value_heads": 2, "head_dim": 8, **change})
