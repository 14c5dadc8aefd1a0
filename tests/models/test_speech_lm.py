"""One model, many ways to run it: whole, in pieces, by steps, padded, packed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.engine.packed_step import PackedDecoder
from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig, SpeechLMConfig
from mamtra.models.layout import PAD, SOS, SPEECH, TASK, TEXT, prompt, unistream, unistream_padded
from mamtra.models.mamba import MambaMixer
from mamtra.models.speech_lm import SpeechLM
from tests.factories import patterned_lm, small_sizes

PATTERNS = ("aaa", "ama", "mam", "mmm", "dad")


MODELS = {pattern: patterned_lm(pattern) for pattern in PATTERNS}


def embeds(*shape):
    return torch.randn(*shape, 24, generator=torch.Generator().manual_seed(1))


@settings(max_examples=25)
@given(st.sampled_from(PATTERNS), st.lists(st.integers(1, 11), min_size=1, max_size=6))
def test_pieces_equal_the_whole(pattern, pieces):
    lm, total = MODELS[pattern], sum(pieces)
    x = embeds(2, total)
    state = lm.init_state(2, total)
    parts = [lm(piece, state) for piece in x.split(pieces, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), lm(x), rtol=0, atol=1e-4)
    assert state.length == total


@settings(max_examples=15)
@given(st.sampled_from(PATTERNS), st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(1, 5))
def test_padded_rows_go_on_alone(pattern, lengths, more):
    lm, longest = MODELS[pattern], max(lengths)
    x = embeds(len(lengths), longest + more)
    state = lm.init_state(len(lengths), longest + more)
    lm(x[:, :longest], state, torch.tensor(lengths))
    after = torch.stack([row[n : n + more] for row, n in zip(x, lengths, strict=True)])
    steps = torch.cat([lm(after[:, t : t + 1], state) for t in range(more)], 1)
    for row, n in enumerate(lengths):
        alone = lm(x[row : row + 1, : n + more])[0, n:]
        torch.testing.assert_close(steps[row], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_packed_steps_equal_the_model(pattern, bias):
    lm = patterned_lm(pattern, bias)
    packed = PackedDecoder(lm)
    x = embeds(2, 16)
    state = lm.init_state(2, 16)
    lm(x[:, :10], state)
    logits = torch.stack([packed(x[:, t], state) for t in range(10, 16)], 1)
    torch.testing.assert_close(logits, lm.logits(lm(x))[:, 10:], rtol=0, atol=1e-4)


def test_packed_refuses_padded_rows():
    lm = MODELS["ama"]
    state = lm.init_state(2, 8)
    lm(embeds(2, 4), state, torch.tensor([4, 2]))
    with pytest.raises(MamTraError, match="next_logits"):
        PackedDecoder(lm)(embeds(2), state)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_copies_of_a_state_are_independent(pattern):
    lm = MODELS[pattern]
    x = embeds(1, 12)
    whole = lm(x)
    state = lm.init_state(1, 12)
    lm(x[:, :6], state)
    snapshot = state.clone(6)
    lm(torch.randn(1, 6, 24), state)
    for _ in range(2):
        again = snapshot.clone(12)
        torch.testing.assert_close(lm(x[:, 6:], again), whole[:, 6:], rtol=0, atol=1e-4)
    with pytest.raises(MamTraError, match="capacity of 5"):
        snapshot.clone(5)


def test_bytes_of_a_state():
    state = MODELS["ama"].init_state(2, 10)
    kv_per_position = 2 * 2 * 2 * 2 * 8 * 4  # layers, rows, k and v, heads, size, float32
    mamba = 2 * (3 * 64 + 4 * 8 * 8) * 4
    assert state.bytes() == 10 * kv_per_position + mamba
    state.length = 3
    assert state.bytes(used=True) == 3 * kv_per_position + mamba


def test_a_full_state_says_so():
    lm = MODELS["mmm"]
    with pytest.raises(MamTraError, match="capacity of 4"):
        lm(embeds(1, 5), lm.init_state(1, 4))


def test_collect_gives_every_layer():
    lm, seen = MODELS["ama"], []
    hidden = lm(embeds(1, 5), collect=seen)
    assert len(seen) == 3
    torch.testing.assert_close(lm.model.norm(seen[-1]), hidden)


def test_equal_generators_give_equal_weights():
    config = MODELS["ama"].config
    a, b = (SpeechLM(config, torch.Generator().manual_seed(5)) for _ in range(2))
    c = SpeechLM(config, torch.Generator().manual_seed(6))
    for (name, x), y, z in zip(a.named_parameters(), b.parameters(), c.parameters(), strict=True):
        assert torch.equal(x, y)
        if name.endswith(("proj.weight", "A_log", "dt_bias")):
            assert not torch.equal(x, z)


def test_embed_picks_the_table():
    lm = MODELS["ama"]
    kind = torch.tensor([[SOS, TEXT, TASK, SPEECH, PAD]])
    out = lm.embed(kind, torch.tensor([[0, 7, 1, 7, -1]]))[0]
    assert torch.equal(out[0], lm.llm_embedding.weight[0])
    assert torch.equal(out[1], lm.model.embed_tokens.weight[7])
    assert torch.equal(out[2], lm.llm_embedding.weight[1])
    assert torch.equal(out[3], lm.speech_embedding.weight[7])
    assert (out[4] == -1).all()


def test_layout_of_padded_tensors_ignores_what_lies_behind():
    texts, speeches = [[3, 4, 5], [6]], [[10], [11, 12, 13, 14]]
    expected = unistream(texts, speeches, eos_id=20)
    text = torch.tensor([[3, 4, 5, 99], [6, 99, 99, 99]], dtype=torch.int32)
    speech = torch.tensor([[10, 99, 99, 99], [11, 12, 13, 14]], dtype=torch.int16)
    batch = unistream_padded(text, torch.tensor([3, 1]), speech, torch.tensor([1, 4]), eos_id=20)
    assert batch.kind.shape == (2, 10)
    for mine, other in zip(batch[:3], expected[:3], strict=True):
        assert torch.equal(mine[:, : other.shape[1]], other)
        assert (mine[:, other.shape[1] :] == -1).all()
    assert batch.targets[0].tolist() == [-1] * 4 + [10, 20] + [-1] * 4
    assert batch.targets[1].tolist() == [-1] * 2 + [11, 12, 13, 14, 20] + [-1] * 3


def test_prompt_is_the_head_of_the_training_layout():
    batch = unistream([[3, 4, 5]], [[10, 11]])
    kind, ids = prompt([3, 4, 5], torch.tensor([10, 11]))
    assert torch.equal(kind, batch.kind) and torch.equal(ids, batch.ids)
    kind, ids = prompt([3, 4, 5])
    assert torch.equal(kind, batch.kind[:, :5]) and torch.equal(ids, batch.ids[:, :5])


@pytest.mark.parametrize(
    "change",
    [{"layer_types": ("full_attention",)}, {"num_key_value_heads": 3}, {"head_dim": 7}, {"eos_id": 19}, {"width": 3}],
)
def test_sizes_that_do_not_fit(change):
    with pytest.raises(ValueError):
        SpeechLMConfig(**(MODELS["ama"].config.model_dump() | change))


def test_aligned_rows_of_the_mixers_projection_change_nothing():
    config = BackboneConfig(**small_sizes("a", head_dim=16))
    mixer, hidden = MambaMixer(config), torch.randn(2, 5, 32)
    plain, aligned = (mixer._project(hidden, aligned=aligned) for aligned in (False, True))
    torch.testing.assert_close(aligned[..., : plain.shape[-1]], plain)


def test_sums_left_to_the_next_layer():
    lm = patterned_lm("amam").requires_grad_(False)
    inputs = embeds(2, 9)
    expected = lm.model(inputs)
    lm.model.defer_residual = True
    torch.testing.assert_close(lm.model(inputs), expected, rtol=0, atol=0)
