"""Operations by formula against PyTorch's counter on the real modules, and against published figures.

The counter sees matrix products. It cannot see what is done element by element: the single step of the scan (6 operations an
element of the state), norms, activations, rotary turns and the depthwise convolution; nor fused attention on a CPU, which is why
the tests ask for the plain kind.
"""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mamtra.cost.flops import FlopConvention, decode_flops, even_decode_length, prefill_flops, scan_flops
from mamtra.cost.presets import PRESETS, cosyvoice2, cosyvoice2_config, find_blueprint, zonos
from mamtra.cost.shapes import blueprint_of
from mamtra.errors import MamTraError
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import CausalLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from tests.factories import small_config, small_sizes

CHUNKS = FlopConvention(scan="chunks")


def speech_lm(letters: str, **changes) -> SpeechLM:
    return SpeechLM(small_config(letters.lower(), 6561, **changes))


def causal_lm(letters: str) -> CausalLM:
    return CausalLM(CausalLMConfig(**small_sizes(letters.lower()), vocab_size=50, attention_bias=False))


def counted(run) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 7, 64, 130])
@pytest.mark.parametrize("letters", ["AAAA", "MMMM", "AMMA"])
def test_prefill_is_what_the_counter_counts(letters, length, batch):
    lm = speech_lm(letters)
    blueprint = blueprint_of(lm.config, "small")
    # a single token goes through the step of the scan, which the counter does not see
    convention = CHUNKS if length > 1 else FlopConvention()
    formula = prefill_flops(blueprint, lm.config.plan, length, convention, batch)
    assert formula.total == counted(lambda: lm(torch.zeros(batch, length, 32)))


def test_the_size_of_a_chunk_counts():
    lm = speech_lm("MMMM", mamba_chunk_size=16)
    formula = prefill_flops(blueprint_of(lm.config, "small"), lm.config.plan, 50, CHUNKS)
    assert formula.total == counted(lambda: lm(torch.zeros(1, 50, 32)))
    assert formula.total != prefill_flops(blueprint_of(speech_lm("MMMM").config, ""), lm.config.plan, 50, CHUNKS).total


@pytest.mark.parametrize("build", [speech_lm, causal_lm])
@pytest.mark.parametrize("head", ["none", "last", "all"])
def test_the_head_counts_where_asked(head, build):
    lm = build("AMMA")

    def run():
        hidden = lm(torch.zeros(2, 9, 32))
        if head != "none":
            lm.logits(hidden if head == "all" else hidden[:, -1])

    formula = prefill_flops(
        blueprint_of(lm.config, "small"), lm.config.plan, 9, FlopConvention(head=head, scan="chunks"), 2
    )
    assert formula.total == counted(run)


@pytest.mark.parametrize("letters", ["AAAA", "MMMM", "AMMA"])
def test_a_decode_step_is_what_the_counter_counts_and_the_scan(letters):
    lm = speech_lm(letters)
    state = lm.init_state(2, 21)
    lm(torch.zeros(2, 20, 32), state)
    formula = decode_flops(blueprint_of(lm.config, "small"), lm.config.plan, 21, FlopConvention(head="all"), 2)
    assert formula.total - formula.scan == counted(lambda: lm.next_logits(torch.zeros(2, 32), state))
    assert formula.scan == 2 * letters.count("M") * 6 * 4 * 8 * 8


@pytest.mark.parametrize("ratio", ["1:0", "1:1"])
def test_full_size(ratio):
    """The real CosyVoice 2 sizes, on tensors without memory."""
    config = cosyvoice2_config()
    plan = LayerPlan.from_ratio(24, ratio)
    config = config.model_copy(update={"layer_types": plan.layer_types})
    with torch.device("meta"):
        lm = SpeechLM(config)
    blueprint = cosyvoice2()
    assert sum(p.numel() for p in lm.parameters()) == blueprint.parameters(plan)
    with FakeTensorMode(allow_non_fake_inputs=True):
        lm = lm.to_empty(device="cpu")
        assert prefill_flops(blueprint, plan, 2048, CHUNKS).total == counted(lambda: lm(torch.empty(1, 2048, 896)))
        state = lm.init_state(1, 2048)
        state.length = 2047
        step = decode_flops(blueprint, plan, 2048)
        assert step.total - step.scan == counted(lambda: lm(torch.empty(1, 1, 896), state))


@pytest.mark.parametrize("config", [speech_lm("AMMA").config, causal_lm("AMMA").config])
def test_parameters(config):
    for tied in (False, True) if isinstance(config, CausalLMConfig) else (None,):
        if tied is not None:
            config = config.model_copy(update={"tie_word_embeddings": tied})
        lm = (CausalLM if tied is not None else SpeechLM)(config)
        assert sum(p.numel() for p in lm.parameters()) == blueprint_of(config, "small").parameters()


def test_the_two_rows_of_table_3_that_a_convention_explains():
    """arXiv 2603.12342v1, Table 3: Llasa-1B 4.53 and Zonos-v0.1 7.32 TFLOP, truncated."""
    scan = FlopConvention(scan="9ldn")
    llasa, hybrid = find_blueprint("llasa-1b"), zonos()
    assert prefill_flops(llasa, llasa.plan, 2048, scan).total == pytest.approx(4.5355e12, rel=1e-5)
    assert prefill_flops(hybrid, hybrid.plan, 2048, scan).total == pytest.approx(7.3261e12, rel=1e-5)


@pytest.mark.parametrize(
    "ratio, prefill, step",
    [
        ("1:0", 1.8264, 891.8),
        ("1:1", 1.6861, 827.4),
        ("1:3", 1.6160, 795.2),
        ("1:5", 1.5926, 784.5),
        ("1:11", 1.5692, 773.8),
    ],
)
def test_cosyvoice_2_hybrids(ratio, prefill, step):
    """Computed by hand from 24 layers of 896, 14 and 2 heads of 64, feed-forward 4864."""
    plan = LayerPlan.from_ratio(24, ratio)
    assert prefill_flops(cosyvoice2(), plan, 2048).total / 1e12 == pytest.approx(prefill, abs=5e-5)
    assert decode_flops(cosyvoice2(), plan, 2048).total / 1e6 == pytest.approx(step, abs=0.05)


def test_causal_scores_are_half_of_all_but_the_diagonal():
    plan = LayerPlan.from_ratio(24, "1:0")
    full, causal = (
        prefill_flops(cosyvoice2(), plan, 2048, FlopConvention(scores=s)).scores for s in ("full", "causal")
    )
    assert causal * 2 == full + full // 2048


def test_scans_by_convention():
    mixer = zonos().mamba.mixer
    assert scan_flops(mixer, 10, "none") == 0
    assert scan_flops(mixer, 10, "steps") == 10 * 6 * 64 * 64 * 128
    assert scan_flops(mixer, 10, "9ldn") == 9 * 10 * 4096 * 128


def test_zonos_has_no_feed_forward_in_its_mamba_layers_and_no_head():
    blueprint = zonos()
    matrices = sum(layer.mixer.projection_weights + layer.feed_forward_weights for layer in blueprint.layers())
    assert matrices == pytest.approx(1607.7e6, rel=1e-4)
    assert blueprint.parameters() == pytest.approx(1.6e9, rel=0.01)
    with pytest.raises(MamTraError, match="--head none"):
        prefill_flops(blueprint, blueprint.plan, 8, FlopConvention(head="all"))


@pytest.mark.parametrize("name", PRESETS)
def test_decode_steps_break_even(name):
    blueprint = find_blueprint(name)
    even = even_decode_length(blueprint)
    attention, mamba = LayerPlan.explicit(1, [0]), LayerPlan.explicit(1, [])
    assert decode_flops(blueprint, mamba, even).total <= decode_flops(blueprint, attention, even).total
    if even > 1:
        before = [decode_flops(blueprint, plan, even - 1).total for plan in (mamba, attention)]
        assert before[0] > before[1]
