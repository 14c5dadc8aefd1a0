"""The face of transformers computes what the package's own model computes, with the cache and padding of transformers."""

import copy

import pytest
import torch

pytest.importorskip("transformers")

from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import mamtra
from mamtra.checkpoints.native import load_part, save_model
from mamtra.errors import MamTraError
from mamtra.hf import MamTraConfig, MamTraForCausalLM, speech_input_ids
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import CausalLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from tests.factories import small_config, small_sizes
from tests.foreign import shaken

SHARED = small_sizes("aaaa", mamba_chunk_size=4)
PLANS = {"attention": "1:0", "half": "1:1", "mostly Mamba": "1:3", "Mamba": "0:1"}
TOLERANCE = 1e-5


@pytest.fixture(params=PLANS)
def plan(request):
    return LayerPlan.from_ratio(4, PLANS[request.param])


@pytest.fixture(params=["lm", "causal_lm", "discrete"])
def native(request, plan):
    seeded = torch.Generator().manual_seed(0)
    shared = SHARED | {"layer_types": plan.layer_types}
    if request.param == "causal_lm":
        lm = CausalLM(CausalLMConfig(**shared, vocab_size=40, eos_ids=(39,), tie_word_embeddings=True), seeded)
    else:
        form = "discrete" if request.param == "discrete" else "mamba2"
        lm = SpeechLM(small_config(speech=27, **shared, text_vocab_size=20, mamba_form=form), seeded)
    lm.load_state_dict(shaken(lm.state_dict(), 1))
    return lm.eval()


@pytest.fixture
def directory(native, tmp_path):
    section = "lm" if isinstance(native, SpeechLM) else "causal_lm"
    return save_model(tmp_path / "model", {section: native})


@pytest.fixture
def model(directory):
    return AutoModelForCausalLM.from_pretrained(directory)


def some_ids(native, rows=2, length=11, seed=0):
    """Joint ids of every kind."""
    config = native.config
    size = config.speech_vocab_size + 2 + config.text_vocab_size if isinstance(native, SpeechLM) else config.vocab_size
    return torch.randint(0, size, (rows, length), generator=torch.Generator().manual_seed(seed))


def own_embeddings(native, ids):
    """The inputs, looked up without the face."""
    if isinstance(native, CausalLM):
        return native.model.embed_tokens(ids)
    table = torch.cat([native.speech_embedding.weight, native.llm_embedding.weight, native.model.embed_tokens.weight])
    return table[ids]


def own_logits(native, ids):
    return native.logits(native(own_embeddings(native, ids)))


def assert_close(found, expected):
    """Within 1e-5 of the greatest value, or of 1 where that is greater."""
    assert found.shape == expected.shape
    error = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
    assert error <= TOLERANCE, f"{error:.1e}"


@torch.no_grad()
def test_prefill_steps_and_chunks(native, model):
    ids = some_ids(native)
    expected = own_logits(native, ids)
    assert_close(model(ids).logits, expected)
    assert_close(model(ids, use_cache=False).logits, expected)
    for sizes in ([1] * 11, [4, 1, 6], [7, 4], [2, 9]):
        cache, parts = DynamicCache(config=model.config), []
        for part in ids.split(sizes, 1):
            found = model(part, past_key_values=cache)
            assert found.past_key_values is cache
            parts.append(found.logits)
        assert_close(torch.cat(parts, 1), expected)


@torch.no_grad()
def test_the_decode_state_of_the_package_gives_the_same(native, model):
    ids = some_ids(native)
    state = native.init_state(2, 11)
    embedded = own_embeddings(native, ids)
    own = [native.logits(native(embedded[:, :5], state))]
    own += [native.next_logits(embedded[:, i], state)[:, None] for i in range(5, 11)]
    assert_close(model(ids).logits, torch.cat(own, 1))


@torch.no_grad()
def test_left_padding_changes_nothing(native, model):
    ids, pads = some_ids(native, rows=3), (0, 4, 9)
    mask = torch.ones_like(ids)
    for row, pad in enumerate(pads):
        mask[row, :pad] = 0
    cache = DynamicCache(config=model.config)
    first = model(ids[:, :10], attention_mask=mask[:, :10], past_key_values=cache).logits
    last = model(ids[:, 10:], attention_mask=mask, past_key_values=cache).logits
    uncached = model(ids, attention_mask=mask, use_cache=False).logits
    assert torch.isfinite(uncached).all()
    for row, pad in enumerate(pads):
        expected = own_logits(native, ids[row : row + 1, pad:])[0]
        assert_close(torch.cat([first[row], last[row]])[pad:], expected)
        assert_close(uncached[row, pad:], expected)


@torch.no_grad()
def test_greedy_generation(native, model):
    prompts = [some_ids(native, 1, length, seed=length) for length in (3, 7, 5)]
    words, alone = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": None}, []
    for prompt in prompts:
        ids = prompt
        for _ in range(8):
            ids = torch.cat([ids, own_logits(native, ids)[:, -1:].argmax(-1)], 1)
        found = model.generate(prompt, attention_mask=torch.ones_like(prompt), **words)
        assert torch.equal(found, ids)
        alone.append(ids[0, prompt.shape[1] :])
    longest = max(prompt.shape[1] for prompt in prompts)
    padded = torch.cat([torch.nn.functional.pad(p, (longest - p.shape[1], 0), value=1) for p in prompts])
    mask = torch.stack([torch.arange(longest) >= longest - p.shape[1] for p in prompts]).long()
    found = model.generate(padded, attention_mask=mask, **words)
    assert torch.equal(found[:, longest:], torch.stack(alone))


@torch.no_grad()
def test_beam_search_keeps_each_beams_memory(native, model):
    prompt = some_ids(native, 1, 5)
    found = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        num_beams=3,
        max_new_tokens=4,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_scores=True,
        length_penalty=0.0,
    )
    new = found.sequences[:, 5:]
    own = own_logits(native, found.sequences)[:, 4:-1].log_softmax(-1)
    assert_close(found.sequences_scores, own.gather(-1, new[..., None]).sum((1, 2)))


def test_generation_ends_where_the_model_says(native, model):
    stops = native.config.stop_ids if isinstance(native, SpeechLM) else native.config.eos_ids
    assert tuple(model.generation_config.eos_token_id) == stops
    head = model.llm_decoder.bias if isinstance(native, SpeechLM) else None
    if head is not None:
        with torch.no_grad():
            head[stops[-1]] += 1e4
        assert model.generate(some_ids(native, 1, 3) % 27, do_sample=False, max_new_tokens=9).shape == (1, 4)


@torch.no_grad()
def test_saved_and_read_again_by_both(native, model, tmp_path):
    place = tmp_path / "saved"
    model.save_pretrained(place, max_shard_size="20KB")
    assert len(list(place.glob("*.safetensors"))) > 1 and (place / "model.safetensors.index.json").is_file()
    section = "lm" if isinstance(native, SpeechLM) else "causal_lm"
    own, again = load_part(place, section), AutoModelForCausalLM.from_pretrained(place)
    assert own.config == native.config
    for found in (own.state_dict(), again.state_dict()):
        assert found.keys() == native.state_dict().keys()
        assert all(torch.equal(found[name], value) for name, value in native.state_dict().items())
    done = mamtra.convert(place, tmp_path / "all", LayerPlan.from_ratio(4, "0:1"))
    assert AutoModelForCausalLM.from_pretrained(done).config.layer_types == ["linear_attention"] * 4


@torch.no_grad()
def test_types_and_int8(native, directory, tmp_path):
    half = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    ids = some_ids(native)
    assert torch.isfinite(
        half.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=3, eos_token_id=None
        ).float()
    ).all()
    section = "lm" if isinstance(native, SpeechLM) else "causal_lm"
    packed = save_model(tmp_path / "packed", {section: native}, storage="int8")
    found = AutoModelForCausalLM.from_pretrained(packed)
    assert_close(found(ids).logits, own_logits(load_part(packed, section), ids))


def test_training(native, model):
    model.train()
    ids = some_ids(native) % 27
    before = model(ids, labels=ids)
    expected = torch.nn.functional.cross_entropy(own_logits(native, ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert before.past_key_values is None
    assert_close(before.loss, expected)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    before.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "embed" not in name)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # a short step: the loss must fall
    optimiser.step()
    assert model(ids, labels=ids).loss < before.loss
    ignored = ids.masked_fill(torch.arange(11) < 6, -100)
    alone = torch.nn.functional.cross_entropy(model(ids).logits[:, 5:-1].flatten(0, 1), ids[:, 6:].flatten())
    assert_close(model(ids, labels=ignored).loss, alone)


@torch.no_grad()
def test_hidden_states_and_kept_logits(native, model):
    ids = some_ids(native)
    found = model(ids, output_hidden_states=True, logits_to_keep=2)
    outputs = []
    own = native(own_embeddings(native, ids), collect=outputs)
    assert found.logits.shape[1] == 2 and len(found.hidden_states) == 5
    assert_close(found.hidden_states[2], outputs[1])
    assert_close(found.hidden_states[-1], own)


def test_what_does_not_fit(native, model):
    ids = some_ids(native)
    with pytest.raises(MamTraError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(MamTraError, match="padding_side='left'"):
        model(
            ids, attention_mask=torch.tensor([[1] * 9 + [0] * 2] * 2), past_key_values=DynamicCache(config=model.config)
        )
    with pytest.raises(MamTraError, match=r"shape \(2, 5\)"):
        model(ids, attention_mask=torch.tensor([[0] + [1] * 4] * 2))
    with pytest.raises(MamTraError, match=r"DynamicCache\(config=model.config\)"):
        model(ids, past_key_values=DynamicCache())


def test_old_keys_are_refused_by_their_new_names():
    sizes = {**SHARED, "text_vocab_size": 20, "speech_codes": 27, "speech_vocab_size": 30, "eos_id": 27, "fill_id": 29}
    with pytest.raises(MamTraError, match="section 'lm': the key 'speech_codes' is called 'num_speech_tokens' now"):
        MamTraConfig(lm=sizes)


def test_speech_ids():
    sizes = small_config("aaaa", 27, text_vocab_size=20)
    assert speech_input_ids(sizes, [0, 19], [5, 6]).tolist() == [[30, 32, 51, 31, 5, 6]]


def test_a_configuration_alone(tmp_path):
    sizes = CausalLMConfig(**SHARED, vocab_size=40)
    drawn = AutoModelForCausalLM.from_config(MamTraConfig.of(sizes))
    assert isinstance(drawn, MamTraForCausalLM) and drawn.lm_head.weight.std() > 0.01
    MamTraConfig.of(sizes).save_pretrained(tmp_path)
    found = AutoConfig.from_pretrained(tmp_path)
    assert found.sizes == sizes and found.layer_types == ["full_attention"] * 4
    with pytest.raises(MamTraError, match="no language model"):
        MamTraForCausalLM(MamTraConfig())
    with pytest.raises(MamTraError, match="section 'causal_lm': head_dim must be even"):
        MamTraConfig(causal_lm={**sizes.model_dump(), "head_dim": 7})


@torch.no_grad()
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["qwen2", "llama", "llama3"])
def test_other_models_without_mamba_are_what_they_were(tmp_path, kind, tied):
    sizes = {
        name: value for name, value in SHARED.items() if name not in ("mamba_chunk_size", "head_dim", "layer_types")
    }
    common = {**sizes, "vocab_size": 50, "tie_word_embeddings": tied, "eos_token_id": 3}
    torch.manual_seed(0)
    if kind == "qwen2":
        theirs = Qwen2ForCausalLM(Qwen2Config(**common))
    else:
        rope = {
            "rope_type": "llama3",
            "rope_theta": 1e4,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        }
        rope |= {"original_max_position_embeddings": 16}
        extra = {"rope_parameters": rope} if kind == "llama3" else {}
        theirs = LlamaForCausalLM(LlamaConfig(**common, **extra))
    theirs.load_state_dict(shaken(theirs.state_dict(), 1))
    theirs.eval().save_pretrained(tmp_path / "src", max_shard_size="20KB" if tied else "1GB")
    assert (len(list((tmp_path / "src").glob("*.safetensors"))) > 1) == tied
    mamtra.convert(tmp_path / "src", tmp_path / "dst", LayerPlan.from_ratio(4, "1:0"))
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "dst")
    ids = torch.randint(4, 50, (2, 30), generator=torch.Generator().manual_seed(1))
    assert_close(ours(ids).logits, theirs(ids).logits)
    words = {"do_sample": False, "max_new_tokens": 10, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(ours.generate(ids, **words), theirs.generate(ids, **words))


@torch.no_grad()
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_tensors_left_to_a_base(native, tmp_path, storage):
    section = "lm" if isinstance(native, SpeechLM) else "causal_lm"
    save_model(tmp_path / "base", {section: native}, storage=storage)
    changed = copy.deepcopy(native)
    next(iter(changed.parameters())).mul_(2)
    part = save_model(tmp_path / "part", {section: changed}, storage=storage, base="../base")
    found, own = AutoModelForCausalLM.from_pretrained(part).state_dict(), load_part(part, section).state_dict()
    assert len(load_file(part / "model.safetensors")) <= 2
    assert found.keys() == own.keys() and all(torch.equal(found[name], own[name]) for name in own)
