"""The transfer: what is copied is bit-identical, and with neutral gates the mixer is the paper's Eq. 4."""

from __future__ import annotations

import pytest
import torch

from mamtra.convert.transfer import convert_attention_to_mamba
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.ssd import ssd

HEADS, GROUPS, DIM, HIDDEN = 4, 2, 8, 24
PLAN = LayerPlan.from_ratio(4, "1:1")


@pytest.fixture(scope="module")
def teacher() -> SpeechLM:
    config = SpeechLMConfig(
        hidden_size=HIDDEN,
        intermediate_size=40,
        num_hidden_layers=4,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        head_dim=DIM,
        text_vocab_size=30,
        speech_codes=20,
        speech_vocab_size=23,
        eos_id=20,
        fill_id=22,
    )
    generator = torch.Generator().manual_seed(0)
    lm = SpeechLM(config, generator).eval()
    for parameter in lm.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return lm


def test_every_tensor_is_accounted_for(teacher):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student, origins = convert_attention_to_mamba(teacher, PLAN)
    made, old = student.state_dict(), teacher.state_dict()
    assert all(torch.equal(old[name], value) for name, value in before.items())
    assert {o.tensor for o in origins} == set(made)
    covered = dict.fromkeys(made, 0)
    for o in origins:
        block = made[o.tensor] if o.rows is None else made[o.tensor][slice(*o.rows)]
        covered[o.tensor] += block.numel()
        if o.origin == "initialised":
            assert o.source is None and o.rule
        else:
            assert torch.equal(block, old[o.source])
            assert block.data_ptr() != old[o.source].data_ptr()
            assert (o.origin == "copied") == (o.tensor == o.source)
    assert covered == {name: value.numel() for name, value in made.items()}
    used = {o.source for o in origins if o.source}
    assert used == set(old), "no tensor of the teacher is lost"
    assert all(p.requires_grad for p in student.parameters())


def test_rows_of_the_input_projection(teacher):
    student, _ = convert_attention_to_mamba(teacher, PLAN)
    attention, mixer = teacher.model.layers[1].self_attn, student.model.layers[1].mamba
    z, x, B, C, dt = mixer.in_proj.bias.split([32, 16, 16, 32, 4])
    for rows, source in ((x, attention.v_proj), (B, attention.k_proj), (C, attention.q_proj)):
        assert torch.equal(rows, source.bias)
    assert not z.any() and not dt.any()
    assert torch.equal(mixer.out_proj.weight, attention.o_proj.weight)
    steps = torch.nn.functional.softplus(mixer.dt_bias)
    assert (steps > 0.00099).all() and (steps < 0.101).all()
    assert (mixer.A_log >= 0).all() and (mixer.A_log.exp() <= 16.001).all()


def test_mixer_core_is_the_papers_linear_attention(teacher):
    student, _ = convert_attention_to_mamba(teacher, PLAN)
    attention, mixer = teacher.model.layers[1].self_attn, student.model.layers[1].mamba
    hidden = torch.randn(2, 30, HIDDEN, generator=torch.Generator().manual_seed(1))
    _, xbc, _ = mixer.in_proj(hidden).split(mixer.in_sizes, -1)
    x, B, C = (t.unflatten(-1, (-1, DIM)) for t in xbc.split(mixer.conv_sizes, -1))
    x, B = (t.repeat_interleave(HEADS // GROUPS, 2) for t in (x, B))
    y, _ = ssd(x, torch.ones(2, 30, HEADS), torch.zeros(HEADS), B, C, torch.zeros(HEADS), chunk_size=8)

    q, k, v = (p(hidden).unflatten(-1, (-1, DIM)) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    expected = torch.zeros(2, 30, HEADS, DIM, dtype=torch.float64)
    for h in range(HEADS):
        kv_head = h // (HEADS // GROUPS)
        memory = torch.zeros(2, DIM, DIM, dtype=torch.float64)
        for t in range(30):
            memory = memory + torch.einsum("bn,bp->bnp", k[:, t, kv_head].double(), v[:, t, kv_head].double())
            expected[:, t, h] = torch.einsum("bn,bnp->bp", q[:, t, h].double(), memory)
    assert (y - expected).abs().max() / expected.abs().max() < 1e-5


def test_neutral_gate_and_identity_conv_leave_only_the_scan(teacher):
    student, _ = convert_attention_to_mamba(teacher, PLAN, gate_init="neutral")
    mixer = student.model.layers[1].mamba
    hidden = torch.randn(1, 9, HIDDEN, generator=torch.Generator().manual_seed(1))
    z, xbc, _ = mixer.in_proj(hidden).split(mixer.in_sizes, -1)
    torch.testing.assert_close(torch.nn.functional.silu(z), torch.ones_like(z))
    torch.testing.assert_close(mixer.conv1d(xbc.transpose(1, 2)[:, :, -4:])[..., -1], xbc[:, -1])


def test_layers_before_the_first_mamba_are_unchanged(teacher):
    student, _ = convert_attention_to_mamba(teacher, PLAN)
    x = torch.randn(1, 7, HIDDEN, generator=torch.Generator().manual_seed(2))
    mine, theirs = [], []
    with torch.no_grad():
        student(x, collect=mine)
        teacher(x, collect=theirs)
    assert torch.equal(mine[0], theirs[0])
    assert not torch.allclose(mine[1], theirs[1])


def test_draws_follow_the_generator(teacher):
    def weights(seed, **options):
        lm, _ = convert_attention_to_mamba(teacher, PLAN, generator=torch.Generator().manual_seed(seed), **options)
        return lm.model.layers[1].mamba.state_dict()

    a, b, c = weights(1), weights(1), weights(2)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["in_proj.weight"], c["in_proj.weight"]) and not torch.equal(a["A_log"], c["A_log"])
    conv = weights(1, conv_init="default")["conv1d.weight"]
    assert conv.abs().max() <= 0.5 and conv.std() > 0.2


def test_biases_can_be_dropped(teacher):
    student, origins = convert_attention_to_mamba(teacher, PLAN, keep_bias=False)
    assert student.model.layers[1].mamba.in_proj.bias is None
    assert not any("in_proj.bias" in o.tensor for o in origins)


def test_a_hybrid_can_be_converted_further(teacher):
    hybrid, _ = convert_attention_to_mamba(teacher, PLAN)
    more, origins = convert_attention_to_mamba(hybrid, LayerPlan.explicit(4, [0]))
    assert more.config.layer_types.count("linear_attention") == 3
    assert all(o.origin == "copied" for o in origins if ".layers.1." in o.tensor)
    with pytest.raises(MamTraError, match="Mamba already"):
        convert_attention_to_mamba(hybrid, LayerPlan.explicit(4, [1]))
    with pytest.raises(MamTraError, match="keep_bias"):
        convert_attention_to_mamba(hybrid, LayerPlan.explicit(4, [0]), keep_bias=False)


def test_options_that_do_not_fit(teacher):
    with pytest.raises(MamTraError, match="24 layers"):
        convert_attention_to_mamba(teacher, LayerPlan.from_ratio(24, "1:1"))
    with pytest.raises(MamTraError, match="neutral gate"):
        convert_attention_to_mamba(teacher, PLAN, keep_bias=False, gate_init="neutral")
