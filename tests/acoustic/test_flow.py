"""Flow: the original's numbers, streaming, padding, and the training objective."""

from __future__ import annotations

import copy
import hashlib
import itertools
import re

import pytest
import torch
from pydantic import ValidationError

from mamtra.acoustic.attention import attend
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_matching import cosine_schedule, fixed_noise
from mamtra.acoustic.masks import attention_mask, valid_positions
from mamtra.errors import MamTraError

TINY = FlowConfig(
    input_size=64,
    encoder_heads=4,
    encoder_ffn=128,
    encoder_blocks=2,
    estimator_channels=48,
    estimator_heads=4,
    estimator_head_dim=16,
    estimator_n_blocks=2,
    estimator_mid_blocks=2,
)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    config = TINY.model_copy(
        update={
            "vocab_size": 50,
            "input_size": 16,
            "encoder_ffn": 32,
            "encoder_blocks": 1,
            "encoder_up_blocks": 1,
            "encoder_dropout": 0.0,
            "estimator_channels": 16,
            "estimator_head_dim": 4,
            "estimator_n_blocks": 1,
            "estimator_mid_blocks": 1,
            "chunk_size": 4,
        }
    )
    return Flow(config).eval()


def prompt(batch: int = 1, tokens: int = 3):
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randint(0, 50, (1, tokens), generator=generator).repeat(batch, 1),
        torch.randn(1, 2 * tokens, 80, generator=generator).repeat(batch, 1, 1),
        torch.randn(1, 192, generator=generator).repeat(batch, 1),
    )


def batch_of_two():
    generator = torch.Generator().manual_seed(6)
    feat_len = torch.tensor([12, 7])
    return {
        "token": torch.randint(0, 50, (2, 6), generator=generator),
        "token_len": torch.tensor([6, 4]),
        "feat": torch.randn(2, 12, 80, generator=generator),
        "feat_len": feat_len,
        "embedding": torch.randn(2, 192, generator=generator),
        "cond_len": torch.tensor([3, 0]),
        "t": torch.tensor([0.2, 0.7]),
        "noise": torch.randn(2, 12, 80, generator=generator),
        "keep": torch.tensor([1.0, 1.0]),
    }


def test_mel_parity(golden, agree):
    passes = list(golden.mels())
    assert {(streaming, finalize) for _, _, streaming, finalize in passes} == {
        *itertools.product((False, True), repeat=2)
    }
    for vectors, flow, streaming, finalize in passes:
        inputs = (vectors[name] for name in ("token", "prompt_token", "prompt_feat", "embedding"))
        agree("mel", flow.inference(*inputs, streaming=streaming, finalize=finalize), vectors["mel"], 2e-5)


def test_encoder_of_every_pass(golden, agree):
    for vectors, flow, streaming, finalize in golden.mels():
        context, ahead = None, flow.config.pre_lookahead_len
        with torch.no_grad():
            embedded = flow.input_embedding(torch.cat([vectors["prompt_token"], vectors["token"]], dim=1))
            if not finalize:
                embedded, context = embedded[:, :-ahead], embedded[:, -ahead:]
            hidden = flow.encoder(embedded, None, context, flow.config.chunk_size if streaming else 0)
            agree("encoder", hidden, vectors["encoder_out"], 1e-5)
            agree("mu", flow.encoder_proj(hidden), vectors["mu"], 1e-5)
            agree("speaker", flow.speaker(vectors["embedding"]), vectors["spk"], 1e-6)


def test_parity_inside(golden, agree):
    flow, vectors = golden.flow(), golden["flow_full"]
    with torch.no_grad():
        valid = vectors["est0_mask"][:, 0].bool()
        steps = {found[1] for name in vectors if (found := re.fullmatch(r"(est\d+)_out", name))}
        assert len(steps) > 1
        for step in steps:
            conditions = (vectors[f"est0_{name}"] for name in ("spks", "cond"))
            out = flow.decoder.estimator(
                vectors[f"{step}_x"], valid, vectors["est0_mu"], vectors[f"{step}_t"], *conditions
            )
            agree("estimator", out, vectors[f"{step}_out"], 1e-5)
    count = len(vectors["est_t"])
    agree("Euler steps", cosine_schedule(torch.linspace(0, 1, count + 1))[:count], vectors["est_t"], 1e-6)


@pytest.mark.parametrize(("streaming", "name"), [(False, "encoder_out"), (True, "encoder_out_stream")])
def test_padded_encoder_parity(golden, streaming, name, agree):
    flow, vectors = golden.flow(), golden["flow_padded_batch"]
    lengths, most = vectors["token_len"], vectors["token"].shape[1]
    with torch.no_grad():
        embedded = flow.input_embedding(vectors["token"]) * valid_positions(lengths, most)[:, :, None]
        chunk = flow.config.chunk_size if streaming else 0
        hidden = flow.encoder(embedded, lengths, chunk=chunk, clean_padding=False)
    valid = valid_positions(flow.config.token_mel_ratio * lengths, hidden.shape[1])
    agree("encoder", hidden[valid], vectors[name][valid], 1e-5)


def test_padded_estimator_parity(golden, agree):
    vectors, estimator = golden["flow_padded_batch"], golden.flow().decoder.estimator
    valid = vectors["mask"][:, 0].bool()
    chunks = {
        name: int(found[1] or 0) for name in vectors if (found := re.fullmatch(r"est_out(?:_stream(\d+))?", name))
    }
    assert len(chunks) > 1
    for name, chunk in chunks.items():
        with torch.no_grad():
            inputs = (vectors[key] for key in ("mu", "t", "spks", "cond"))
            out = estimator(vectors["x"], valid, *inputs, chunk)
        agree("estimator", out * valid[:, None], vectors[name] * valid[:, None], 1e-5)
        assert (out * ~valid[:, None]).abs().max() == 0


def test_fixed_noise_is_the_originals_and_leaves_the_global_generator_alone(golden, agree):
    fixed_noise.cache_clear()
    before = torch.get_rng_state()
    head, about = golden["flow_noise"]["noise_head"], golden.index["groups"]["flow_noise"]
    noise = fixed_noise(head.shape[1])
    assert torch.equal(torch.get_rng_state(), before)
    agree("noise", noise[:, :, : head.shape[2]], head)
    digest = hashlib.sha256(noise.numpy().tobytes()).hexdigest()
    assert digest == about["sha256_of_full_buffer_float32_le"]


def test_published_sizes():
    with torch.device("meta"):
        flow = Flow(FlowConfig())
    assert len(flow.state_dict()) == 1121
    assert sum(value.numel() for value in flow.parameters()) == 112_549_360


def test_streaming_mel_of_a_chunk_ignores_later_chunks(small):
    token = torch.arange(13)[None]
    changed = token.clone()
    changed[:, 8:] += 20
    voice, noise = prompt(tokens=4), torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0))
    first, second = (small.inference(t, *voice, streaming=True, noise=noise, steps=2) for t in (token, changed))
    # Prompt and two chunks of four tokens are settled but for the look-ahead of their last three tokens.
    assert torch.equal(first[:, :, :8], second[:, :, :8])
    assert not torch.equal(first[:, :, 16:], second[:, :, 16:])
    full = small.inference(changed, *voice, noise=noise, steps=2)
    assert not torch.allclose(full[:, :, :8], first[:, :, :8])


def test_lookahead_tokens_shape_the_mel_but_yield_none(small):
    token, voice = torch.arange(9)[None], prompt()
    changed = token.clone()
    changed[:, -1] += 20
    first, second = (small.inference(t, *voice, finalize=False, steps=2) for t in (token, changed))
    assert first.shape == (1, 80, 12)
    assert not torch.equal(first, second)


def test_guidance_mixes_the_two_branches(small):
    token, voice = torch.arange(6)[None], prompt()
    plain, half, whole = (small.inference(token, *voice, steps=1, guidance=g) for g in (0.0, 0.5, 1.0))
    # One Euler step is linear in the guidance weight.
    assert torch.allclose(half - plain, (whole - plain) / 2, atol=1e-5)
    assert not torch.allclose(whole, plain)
    default = small.inference(token, *voice, steps=1)
    assert torch.allclose(default, small.inference(token, *voice, steps=1, guidance=0.7))


def test_errors_say_what_to_do(small):
    token, voice = torch.arange(6)[None], prompt()
    with pytest.raises(MamTraError, match="shorter pieces"):
        small.inference(token, *voice, noise=torch.randn(1, 80, 10))
    with pytest.raises(MamTraError, match="finalize=True"):
        small.inference(token, *voice, finalize=False, token_len=torch.tensor([6]))
    with pytest.raises(MamTraError, match="too few"):
        small.inference(token[:, :0], *voice, finalize=False)
    with pytest.raises(ValidationError):
        FlowConfig(width=3)


def test_loss_ignores_padding(small):
    batch = batch_of_two()
    loss = small.loss(**batch)
    batch["token"][1, 4:] = 7
    batch["feat"][1, 7:] = 100.0
    batch["noise"][1, 7:] = 100.0
    assert small.loss(**batch).item() == pytest.approx(loss.item(), rel=1e-5)
    batch["feat"][1, 6] += 1.0
    assert small.loss(**batch).item() != pytest.approx(loss.item(), rel=1e-5)


def test_dropped_conditions_do_not_matter(small):
    batch = batch_of_two() | {"keep": torch.zeros(2)}
    loss = small.loss(**batch)
    batch["embedding"] = -batch["embedding"]
    batch["token"] = 49 - batch["token"]
    batch["cond_len"] = torch.tensor([0, 2])
    assert small.loss(**batch).item() == pytest.approx(loss.item(), rel=1e-6)


def test_loss_of_an_estimator_that_says_zero_is_the_power_of_the_field(small):
    batch = batch_of_two()
    zeroed = Flow(small.config).eval()
    torch.nn.init.zeros_(zeroed.decoder.estimator.final_proj.weight)
    torch.nn.init.zeros_(zeroed.decoder.estimator.final_proj.bias)
    valid = valid_positions(batch["feat_len"], 12)
    field = (batch["feat"] - batch["noise"])[valid]
    assert zeroed.loss(**batch).item() == pytest.approx(field.square().mean().item(), rel=1e-4)


def test_prior_aims_the_encoder_at_the_mel(small):
    batch = batch_of_two()
    valid = valid_positions(batch["feat_len"], 12)
    hidden = small.encoder(small._embed(batch["token"], batch["token_len"]), batch["token_len"])
    distance = (small.encoder_proj(hidden) - batch["feat"])[valid].abs().mean()
    added = small.loss(**batch, prior_weight=2.0) - small.loss(**batch)
    assert added.item() == pytest.approx(2 * distance.item(), rel=1e-4)


@pytest.mark.parametrize("streaming", [False, True])
def test_training_reaches_every_parameter(small, streaming):
    flow = Flow(small.config.model_copy(update={"encoder_dropout": 0.1})).train()
    flow.loss(**batch_of_two(), streaming=streaming).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in flow.parameters())
    assert flow.encoder.encoders[0].self_attn.linear_pos.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("streaming", [False, True])
def test_a_sketch_is_what_inference_makes_without_guidance_in_as_many_steps(small, streaming):
    tokens, feat, embedding = prompt(tokens=7)
    noise, length = torch.randn(1, 14, 80, generator=torch.Generator().manual_seed(1)), torch.tensor([7])
    given = small.conditions(tokens, length, feat, 2 * length, embedding, torch.tensor([6]), streaming)
    made = small.sketch(given, noise, 1, 3)
    expected = small.inference(
        tokens[:, 3:], tokens[:, :3], feat[:, :6], embedding,
        steps=3, guidance=0.0, noise=noise.transpose(1, 2), streaming=streaming,
    )  # fmt: skip
    torch.testing.assert_close(made[:, 6:], expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_a_sketch_has_gradients(small):
    flow, batch = copy.deepcopy(small), batch_of_two()
    noise = batch.pop("noise")
    given = flow.conditions(**{name: batch[name] for name in batch if name not in ("t", "keep")})
    mel = flow.sketch(given, noise, 1, 2)
    assert mel.shape == (1, 12, 80)
    mel.square().sum().backward()
    assert flow.spk_embed_affine_layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("masked", [False, True])
def test_mixed_precision_leaves_attention_in_float32(masked):
    """In bfloat16 the gradients of a choice of one key are rounding errors, times thousands here."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 40, 8).bfloat16().float().requires_grad_() for _ in range(3))
    mask = torch.zeros(40, 40).masked_fill(torch.ones(40, 40).triu(1).bool(), -1e10) if masked else None
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(1000 * q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    assert mixed.dtype == torch.bfloat16
    exact = attend((1000 * q.bfloat16()).float(), k, v, mask)
    torch.testing.assert_close(mixed.float(), exact, atol=0.02, rtol=0.01)
    weight = torch.randn_like(exact).bfloat16().float()
    for one, other in zip(
        *(torch.autograd.grad((y.float() * weight).sum(), (q, k, v)) for y in (mixed, exact)), strict=True
    ):
        torch.testing.assert_close(one, other, atol=0.02 * other.abs().max().item() + 1e-3, rtol=0.02)


def test_sampled_noise_is_deterministic_and_within_bounds(small):
    feat_len = torch.arange(10, 410)
    first, again = (small.sample_noise(feat_len, 420, torch.Generator().manual_seed(2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.noise.shape == (400, 420, 80)
    assert (first.cond_len <= 0.3 * feat_len).all() and (first.cond_len >= 0).all()
    assert 0.35 < (first.cond_len > 0).float().mean() < 0.65
    assert 0.7 < first.keep.mean() < 0.9
    assert (first.t >= 0).all() and (first.t < 1).all()


def test_attention_mask():
    assert attention_mask(4, None, 0, torch.device("cpu")) is None
    assert attention_mask(4, None, 4, torch.device("cpu")) is None
    valid = valid_positions(torch.tensor([4, 3]), 4)
    mask = attention_mask(4, valid, 2, torch.device("cpu"))
    assert mask[1, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
