"""Layer importance: scores equal a naive computation, planted layers are found."""

from __future__ import annotations

import pytest
import torch

from mamtra.errors import MamTraError
from mamtra.models.layout import IGNORE, unistream
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking.criteria import all_replaced, block_influence, divergence, stack, with_layers
from tests.factories import patterned_lm

LAYERS = 4
IDLE = 2
"""A layer whose attention adds nothing."""


@pytest.fixture(scope="module")
def lm() -> SpeechLM:
    lm = patterned_lm("a" * LAYERS)
    lm.model.layers[IDLE].self_attn.o_proj.weight.zero_()
    return lm


@pytest.fixture(scope="module")
def batches():
    """Three utterances of unlike lengths in two batches, the first of them with padding."""
    generator = torch.Generator().manual_seed(1)
    sizes = ((3, 5), (6, 11), (4, 9))
    texts = [torch.randint(0, 30, (n,), generator=generator) for n, _ in sizes]
    codes = [torch.randint(0, 20, (n,), generator=generator) for _, n in sizes]
    return [unistream(texts[:2], codes[:2], eos_id=20), unistream(texts[2:], codes[2:], eos_id=20)]


def naive_kl(lm, other, batches) -> float:
    """Position by position in float64, both models run as they are."""
    values = []
    for batch in batches:
        p, q = (m.logits(m(m.embed(batch.kind, batch.ids))).double().softmax(-1) for m in (lm, other))
        for row, position in (batch.targets != IGNORE).nonzero().tolist():
            a, b = p[row, position], q[row, position]
            values.append(float((a * (a / b).log()).sum()))
    return sum(values) / len(values)


@pytest.mark.parametrize("how", ["identity", "mamba"])
@pytest.mark.parametrize("gone", [(), (1,), (0, 3)])
def test_divergence_is_that_of_whole_models(lm, batches, how, gone):
    replaced = all_replaced(lm, how)
    wanted = [i for i in range(LAYERS) if i not in gone]
    found = dict(divergence(lm, stack(lm, replaced, gone), replaced, batches, wanted))
    assert list(found) == wanted
    for i in wanted:
        expected = naive_kl(lm, with_layers(lm, replaced, [*gone, i]), batches)
        assert found[i] == pytest.approx(expected, rel=1e-3, abs=1e-6)
        assert gone or (found[i] > 1e-3) == (i != IDLE)


def test_an_idle_layer_is_not_missed(lm, batches):
    replaced = all_replaced(lm, "identity")
    found = dict(divergence(lm, stack(lm, replaced, ()), replaced, batches, range(LAYERS)))
    assert abs(found[IDLE]) < 1e-6 and min(found, key=found.get) == IDLE


def test_identity_drops_attention_and_nothing_else(lm, batches):
    replaced = with_layers(lm, all_replaced(lm, "identity"), [1])
    embedded = lm.embed(batches[0].kind, batches[0].ids)
    hook = lm.model.layers[1].self_attn.register_forward_hook(lambda module, given, result: torch.zeros_like(result))
    try:
        expected = lm(embedded)
    finally:
        hook.remove()
    torch.testing.assert_close(replaced(embedded), expected)
    assert not torch.allclose(lm(embedded), expected)
    assert replaced.config == lm.config
    assert replaced.model.layers[0].mlp.up_proj.weight.data_ptr() == lm.model.layers[0].mlp.up_proj.weight.data_ptr()


def test_layers_of_a_mix_are_mamba_where_wanted(lm):
    replaced = all_replaced(lm, "mamba", seed=3)
    mixed = with_layers(lm, replaced, [3, 1])
    assert mixed.config.plan.mamba_layers == (1, 3)
    assert torch.equal(mixed.model.layers[3].mamba.A_log, replaced.model.layers[3].mamba.A_log)
    again, other = all_replaced(lm, "mamba", seed=3), all_replaced(lm, "mamba", seed=4)
    assert torch.equal(again.model.layers[2].mamba.A_log, replaced.model.layers[2].mamba.A_log)
    assert not torch.equal(other.model.layers[2].mamba.A_log, replaced.model.layers[2].mamba.A_log)


def test_block_influence_is_one_minus_the_cosine_of_valid_positions(lm, batches):
    found = block_influence(lm, stack(lm, None, ()), batches)
    for i in range(LAYERS):
        values = []
        for batch in batches:
            outputs: list[torch.Tensor] = []
            embedded = lm.embed(batch.kind, batch.ids)
            lm(embedded, collect=outputs)
            for row, length in enumerate(batch.lengths.tolist()):
                before = (embedded if i == 0 else outputs[i - 1])[row, :length].double()
                after = outputs[i][row, :length].double()
                norms = before.norm(dim=-1) * after.norm(dim=-1)
                values += (1 - (before * after).sum(-1) / norms).tolist()
        assert found[i] == pytest.approx(sum(values) / len(values), rel=1e-4)


def test_influence_of_attention_alone(lm, batches):
    layers = stack(lm, None, ())
    block, attention = (block_influence(lm, layers, batches, part) for part in ("block", "attention"))
    assert abs(attention[IDLE]) < 1e-6 < 1e-3 < block[IDLE]
    assert all(attention[i] > 1e-3 for i in range(LAYERS) if i != IDLE)


def test_influence_is_measured_behind_replaced_layers(lm, batches):
    replaced = all_replaced(lm, "identity")
    before, after = (block_influence(lm, stack(lm, replaced, gone), batches) for gone in ((), (1,)))
    assert before[0] == after[0] and before[1] != after[1] and before[3] != after[3]


def test_a_model_without_attention_cannot_be_ranked(lm):
    with pytest.raises(MamTraError, match="no attention left"):
        all_replaced(all_replaced(lm, "mamba"), "identity")


def test_hybrids_keep_their_mamba_layers(lm):
    hybrid = with_layers(lm, all_replaced(lm, "mamba"), LayerPlan.from_ratio(LAYERS, "1:1").mamba_layers)
    assert all_replaced(hybrid, "identity").config.plan.mamba_layers == (1, 3)
    replaced = all_replaced(hybrid, "mamba")
    assert torch.equal(replaced.model.layers[1].mamba.A_log, hybrid.model.layers[1].mamba.A_log)
