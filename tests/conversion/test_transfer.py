"""The transfer: what is taken over is bit-identical, and with everything neutral the mixer is the paper's Eq. 4."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mamtra.conversion.options import TransferOptions
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.errors import MamTraError
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import CausalLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.ssd import ssd
from tests.factories import small_config, small_sizes

HEADS, GROUPS, DIM, HIDDEN = 4, 2, 8, 24
PLAN = LayerPlan.from_ratio(4, "1:1")
SIZES = small_sizes("aaaa", hidden_size=HIDDEN, intermediate_size=40)
EQUATION_4 = {"form": "discrete", "gate_init": "neutral", "a_init": "neutral", "d_init": "zero"}


def shake(lm):
    generator = torch.Generator().manual_seed(1)
    for parameter in lm.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return lm.eval()


@pytest.fixture(scope="module")
def teacher() -> SpeechLM:
    return shake(SpeechLM(small_config("aaaa", 20, **SIZES, text_vocab_size=30), torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def llama() -> CausalLM:
    config = CausalLMConfig(**SIZES, vocab_size=30, attention_bias=False, mamba_qkv_bias=False)
    return shake(CausalLM(config, torch.Generator().manual_seed(0)))


def convert(teacher, plan=PLAN, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return convert_attention_to_mamba(teacher, plan, TransferOptions(**options), generator=generator)


def hidden_states(length=30, seed=1):
    return torch.randn(2, length, HIDDEN, generator=torch.Generator().manual_seed(seed))


def mix(mixer, hidden):
    with torch.no_grad():
        return mixer(hidden, Positions(torch.empty(0), torch.empty(0)))


def equation_4(attention, hidden):
    """(batch, length, heads, DIM) float64, by the sum over the past, without 1/sqrt(d)."""
    q, k, v = (
        F.linear(hidden.double(), p.weight.double(), None if p.bias is None else p.bias.double()).unflatten(
            -1, (-1, DIM)
        )
        for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    expected = torch.zeros(*hidden.shape[:2], HEADS, DIM, dtype=torch.float64)
    for h in range(HEADS):
        group = h // (HEADS // GROUPS)
        for t in range(hidden.shape[1]):
            for s in range(t + 1):
                scores = (q[:, t, h] * k[:, s, group]).sum(-1, keepdim=True)
                expected[:, t, h] += scores * v[:, s, group]
    return expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"qkv_bias": "fold", "conv_init": "default", "form": "discrete"},
        {"qkv_bias": "drop", "dt_init": "one"},
        {"init": "xavier", **EQUATION_4},
    ],
)
def test_every_tensor_is_accounted_for(teacher, options):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student, origins = convert(teacher, **options)
    made, old = student.state_dict(), teacher.state_dict()
    assert all(torch.equal(old[name], value) for name, value in before.items())
    assert {o.tensor for o in origins} == set(made)
    covered = dict.fromkeys(made, 0)
    for o in origins:
        block = made[o.tensor] if o.rows is None else made[o.tensor][slice(*o.rows)]
        covered[o.tensor] += block.numel()
        if o.origin == "fresh":
            assert o.source is None and o.rule
        elif o.origin == "folded":
            assert o.source.endswith(".bias") and o.rule
        else:
            assert torch.equal(block, old[o.source])
            assert block.data_ptr() != old[o.source].data_ptr()
            assert (o.origin == "copied") == (o.tensor == o.source)
    assert covered == {name: value.numel() for name, value in made.items()}
    lost = set(old) - {o.source for o in origins}
    if options.get("init"):
        assert lost == {name for name in old if ".self_attn." in name and name.split(".")[2] in "13"}
    elif options.get("qkv_bias") == "drop":
        assert lost == {f"model.layers.{i}.self_attn.{p}_proj.bias" for i in (1, 3) for p in "qkv"}
    else:
        assert not lost, "no tensor of the teacher is lost"
    assert all(p.requires_grad for p in student.parameters())


def test_rows_of_the_input_projection(teacher):
    student, _ = convert(teacher)
    attention, mixer = teacher.model.layers[1].self_attn, student.model.layers[1].mamba
    z, x, B, C, dt = mixer.in_proj.bias.split([32, 16, 16, 32, 4])
    for rows, source in ((x, attention.v_proj), (B, attention.k_proj), (C, attention.q_proj)):
        assert torch.equal(rows, source.bias)
    assert not z.any() and not dt.any()
    assert torch.equal(mixer.out_proj.weight, attention.o_proj.weight)
    steps = F.softplus(mixer.dt_bias)
    assert (steps > 0.00099).all() and (steps < 0.101).all()
    assert (mixer.A_log >= 0).all() and (mixer.A_log.exp() <= 16.001).all()
    assert (mixer.D == 1).all()


def test_mixer_core_is_the_papers_linear_attention(teacher):
    student, _ = convert(teacher)
    mixer, hidden = student.model.layers[1].mamba, hidden_states()
    _, xbc, _ = mixer.in_proj(hidden).split(mixer.in_sizes, -1)
    x, B, C = (t.unflatten(-1, (-1, DIM)) for t in xbc.split(mixer.conv_sizes, -1))
    x, B = (t.repeat_interleave(HEADS // GROUPS, 2) for t in (x, B))
    y, _ = ssd(x, torch.ones(2, 30, HEADS), torch.zeros(HEADS), B, C, torch.zeros(HEADS), chunk_size=8)
    expected = equation_4(teacher.model.layers[1].self_attn, hidden)
    assert (y - expected).abs().max() / expected.abs().max() < 1e-5


@pytest.mark.parametrize("qkv_bias", ["keep", "fold"])
@pytest.mark.parametrize("dt_init", ["mamba2", "one"])
@pytest.mark.parametrize("which", ["teacher", "llama"])
def test_a_neutral_discrete_layer_is_normalised_equation_4(request, which, qkv_bias, dt_init):
    teacher = request.getfixturevalue(which)
    student, _ = convert(teacher, **EQUATION_4, qkv_bias=qkv_bias, dt_init=dt_init)
    attention, mixer, hidden = teacher.model.layers[1].self_attn, student.model.layers[1].mamba, hidden_states()
    y = equation_4(attention, hidden)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + mixer.norm.eps)
    expected = F.linear(y.flatten(2), attention.o_proj.weight.double())
    assert (mix(mixer, hidden) - expected).abs().max() / expected.abs().max() < 1e-5


def test_folded_biases_are_kept_biases_behind_an_identity_convolution(teacher):
    kept, folded, dropped = (
        convert(teacher, qkv_bias=how)[0].model.layers[1].mamba for how in ("keep", "fold", "drop")
    )
    assert folded.in_proj.bias is None and dropped.in_proj.bias is None
    assert torch.equal(folded.conv1d.bias, kept.in_proj.bias[32:96]) and not dropped.conv1d.bias.any()
    hidden = hidden_states()
    torch.testing.assert_close(mix(folded, hidden), mix(kept, hidden), rtol=0, atol=1e-5)
    assert (mix(dropped, hidden) - mix(kept, hidden)).abs().max() > 0.1


def test_folded_biases_miss_only_the_first_positions_of_other_convolutions(teacher):
    kept, folded = (
        convert(teacher, qkv_bias=how, conv_init="default")[0].model.layers[1].mamba for how in ("keep", "fold")
    )
    hidden = hidden_states()
    convolved = []
    for mixer in (kept, folded):
        xbc = mixer.in_proj(hidden)[..., 32:96].transpose(1, 2)
        convolved.append(mixer.conv1d(F.pad(xbc, (3, 0))))
    torch.testing.assert_close(convolved[0][..., 3:], convolved[1][..., 3:], rtol=0, atol=1e-5)
    assert (convolved[0] - convolved[1])[..., :3].abs().amax((0, 1)).min() > 0.01


def test_a_neutral_gate_brings_a_bias_where_there_is_none(llama, teacher):
    assert convert(llama)[0].model.layers[1].mamba.in_proj.bias is None
    for lm, options in ((llama, {}), (teacher, {"qkv_bias": "drop"}), (teacher, {"qkv_bias": "fold"})):
        bias = convert(lm, gate_init="neutral", **options)[0].model.layers[1].mamba.in_proj.bias
        torch.testing.assert_close(F.silu(bias[:32]), torch.ones(32))
        assert not bias[32:].any()


def test_layers_before_the_first_mamba_are_unchanged(teacher):
    student, _ = convert(teacher)
    x = hidden_states(7)
    mine, theirs = [], []
    with torch.no_grad():
        student(x, collect=mine)
        teacher(x, collect=theirs)
    assert torch.equal(mine[0], theirs[0])
    assert not torch.allclose(mine[1], theirs[1])


def test_draws_follow_the_generator(teacher):
    def weights(seed, **options):
        return convert(teacher, seed=seed, **options)[0].model.layers[1].mamba.state_dict()

    a, b, c = weights(1), weights(1), weights(2)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["in_proj.weight"], c["in_proj.weight"]) and not torch.equal(a["A_log"], c["A_log"])
    conv = weights(1, conv_init="default")["conv1d.weight"]
    assert conv.abs().max() <= 0.5 and conv.std() > 0.2


def test_the_draws_of_a_seed_are_for_good(teacher):
    # students that were trained from a seed are traced back to where they began
    generator = torch.Generator().manual_seed(3)
    gate = torch.randn(32, HIDDEN, generator=generator) * 0.02
    steps = torch.randn(HEADS, HIDDEN, generator=generator) * 0.02
    dt = torch.exp(math.log(1e-3) + math.log(100) * torch.rand(HEADS, generator=generator))
    rate = torch.rand(HEADS, generator=generator) * math.log(16)
    mixer = convert(teacher, seed=3)[0].model.layers[1].mamba
    torch.testing.assert_close(mixer.in_proj.weight[:32], gate)
    torch.testing.assert_close(mixer.in_proj.weight[-HEADS:], steps)
    torch.testing.assert_close(F.softplus(mixer.dt_bias), dt)
    torch.testing.assert_close(mixer.A_log, rate)


@pytest.mark.parametrize(("init", "bounds"), [("xavier", (24 + 16, 24 + 32)), ("kaiming", (24, 24))])
def test_projections_can_be_drawn_anew(teacher, init, bounds):
    mixer = convert(teacher, init=init)[0].model.layers[1].mamba
    x, C = mixer.in_proj.weight[32:48], mixer.in_proj.weight[64:96]
    for rows, size in ((x, bounds[0]), (C, bounds[1])):
        bound = math.sqrt(6 / size)
        assert 0.97 * bound < rows.abs().max() <= bound
    columns = 32 if init == "kaiming" else 24 + 32
    assert 0.97 < mixer.out_proj.weight.abs().max() / math.sqrt(6 / columns) <= 1
    assert mixer.in_proj.bias is None and not mixer.conv1d.bias.any()


@pytest.mark.parametrize(
    ("form", "a_init", "least", "most"),
    [
        ("mamba2", None, 1, 16),
        ("mamba2", "slow", 1 / 64, 1 / 4),
        ("mamba2", "one", 1, 1),
        ("discrete", None, 1, 1),
        ("discrete", "mamba2", 1, 16),
        ("discrete", "neutral", 1e-9, 1e-9),
    ],
)
def test_decay_rates(teacher, form, a_init, least, most):
    student, _ = convert(teacher, form=form, a_init=a_init)
    assert student.config.mamba_form == form
    rates = torch.cat([student.model.layers[i].mamba.A_log for i in (1, 3)]).exp()
    assert (rates >= least * 0.9999).all() and (rates <= most * 1.0001).all()
    assert (rates.unique().numel() > 1) == (least != most)


def test_steps_of_one(teacher):
    mixer = convert(teacher, dt_init="one")[0].model.layers[1].mamba
    torch.testing.assert_close(F.softplus(mixer.dt_bias), torch.ones(HEADS))
    assert not mixer.in_proj.weight[-HEADS:].any()


def test_a_hybrid_can_be_converted_further(teacher):
    hybrid, _ = convert(teacher)
    more, origins = convert(hybrid, LayerPlan.explicit(4, [0]))
    assert more.config.layer_types.count("linear_attention") == 3
    assert all(o.origin == "copied" for o in origins if ".layers.1." in o.tensor)
    folded, _ = convert(hybrid, LayerPlan.explicit(4, [0]), qkv_bias="fold")
    assert folded.model.layers[1].mamba.in_proj.bias.any() and not folded.model.layers[2].mamba.in_proj.bias.any()
    with pytest.raises(MamTraError, match="Mamba already"):
        convert(hybrid, LayerPlan.explicit(4, [1]))
    with pytest.raises(MamTraError, match="form 'mamba2'"):
        convert(hybrid, LayerPlan.explicit(4, [0]), form="discrete")
    bare, _ = convert(teacher, qkv_bias="drop")
    for options in ({}, {"qkv_bias": "drop", "gate_init": "neutral"}):
        with pytest.raises(MamTraError, match="have no bias"):
            convert(bare, LayerPlan.explicit(4, [0]), **options)
    assert convert(bare, PLAN)[0].config == bare.config


def test_plans_that_do_not_fit(teacher):
    with pytest.raises(MamTraError, match="24 layers"):
        convert(teacher, LayerPlan.from_ratio(24, "1:1"))


def test_a_causal_model_keeps_its_tied_head():
    config = CausalLMConfig(**SIZES, vocab_size=30, tie_word_embeddings=True)
    student, _ = convert(shake(CausalLM(config)))
    assert isinstance(student, CausalLM) and "lm_head.weight" not in student.state_dict()
