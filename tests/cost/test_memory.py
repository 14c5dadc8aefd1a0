"""Bytes by formula against real decode states, and where plans break even."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamtra.cost.memory import (
    CacheTypes,
    break_even_length,
    kv_bytes_per_token,
    state_bytes,
    stream_bytes,
    streams_per_gib,
)
from mamtra.cost.presets import PRESETS, cosyvoice2, cosyvoice2_config, find_blueprint
from mamtra.cost.shapes import blueprint_of
from mamtra.models.plan import LayerPlan
from mamtra.models.state import DecodeState

ONE = LayerPlan.explicit(1, [])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("ratio", ["1:0", "1:3", "0:1"])
def test_the_formula_is_what_is_allocated(ratio, dtype):
    config = cosyvoice2_config()
    config = config.model_copy(update={"layer_types": LayerPlan.from_ratio(24, ratio).layer_types})
    blueprint, types = blueprint_of(config, ""), CacheTypes(cache=dtype)
    for context in (1, 100):
        state = DecodeState.empty(config, 2, context, dtype=getattr(torch, dtype))
        assert state.bytes() == 2 * stream_bytes(blueprint, config.plan, context, types)


def test_figures_of_cosyvoice_2():
    """14 x 64 x 64 numbers of state, 512 bytes of keys and values a token and layer; convolutions keep 3 inputs of 1152."""
    blueprint, conv = cosyvoice2(), 3 * 1152 * 2
    assert kv_bytes_per_token(blueprint, LayerPlan.from_ratio(24, "1:0")) == 24 * 512
    assert state_bytes(blueprint, ONE) == 229376 + conv
    assert state_bytes(blueprint, ONE, CacheTypes(state="bfloat16")) == 114688 + conv
    assert blueprint.mamba.mixer.state_elements * 4 / 512 == 448
    assert break_even_length(blueprint, ONE) == 462  # 448 and what the convolutions keep
    assert break_even_length(blueprint, ONE, CacheTypes(state="bfloat16")) == 238
    teacher = LayerPlan.from_ratio(24, "1:0")
    assert [round(stream_bytes(blueprint, teacher, n) / 1e6, 1) for n in (512, 2048, 8192)] == [6.3, 25.2, 100.7]
    assert streams_per_gib(blueprint, teacher, 2048) == 42


@given(
    st.sampled_from(sorted(PRESETS)), st.sets(st.integers(0, 9), max_size=9), st.sampled_from(["float32", "bfloat16"])
)
def test_break_even_is_where_the_plan_first_takes_no_more(name, attention, dtype):
    blueprint, plan = find_blueprint(name), LayerPlan.explicit(10, attention)
    whole, types = LayerPlan.from_ratio(10, "1:0"), CacheTypes(state=dtype)
    even = break_even_length(blueprint, plan, types)
    at = [stream_bytes(blueprint, p, even, types) for p in (plan, whole)]
    before = [stream_bytes(blueprint, p, even - 1, types) for p in (plan, whole)]
    assert at[0] <= at[1] and before[0] > before[1]


def test_without_mamba_layers_nothing_breaks_even():
    assert break_even_length(cosyvoice2(), LayerPlan.from_ratio(24, "1:0")) is None
