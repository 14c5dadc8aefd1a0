"""What trainers ask of a model: packed and padded rows, replaced heads, adapters, checkpointing, accumulated gradients."""

import random

import pytest
import torch

pytest.importorskip("transformers")

from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig, StaticCache

from mamtra.errors import MamTraError
from mamtra.hf import MamTraConfig, MamTraForCausalLM
from mamtra.hf.arguments import CACHE_NAME
from mamtra.hf.packing import find_segments
from mamtra.models.config import CausalLMConfig
from mamtra.models.plan import LayerPlan
from tests.factories import small_config
from tests.foreign import shaken
from tests.hf.test_model import SHARED, assert_close


def build(section="causal_lm", ratio="1:1", **more):
    """A model whose dynamics and biases are random too."""
    shared = SHARED | {"layer_types": LayerPlan.from_ratio(4, ratio).layer_types}
    if section == "lm":
        sizes = small_config(speech=27, **shared, text_vocab_size=20)
    else:
        sizes = CausalLMConfig(**shared, vocab_size=40, eos_ids=(39,), **more)
    torch.manual_seed(0)
    model = MamTraForCausalLM(MamTraConfig.of(sizes))
    model.load_state_dict(shaken(model.state_dict(), 1))
    return model.eval()


def ids_of(rows=2, length=11, seed=0):
    return torch.randint(0, 27, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("ratio", ["1:0", "1:1", "0:1"])
@pytest.mark.parametrize("section", ["lm", "causal_lm"])
def test_packed_rows_do_not_see_each_other(section, ratio):
    model, rng = build(section, ratio), random.Random(0)
    for trial in range(10):
        lengths = [rng.randint(1, 7) for _ in range(rng.randint(2, 4))]
        parts = [ids_of(1, length, seed=10 * trial + i) for i, length in enumerate(lengths)]
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        found = model(torch.cat(parts, 1), position_ids=positions, output_hidden_states=True)
        assert found.past_key_values is None
        assert_close(found.logits, torch.cat([model(part).logits for part in parts], 1))
        alone = [model(part, output_hidden_states=True).hidden_states for part in parts]
        for layer, hidden in enumerate(found.hidden_states):
            assert_close(hidden, torch.cat([states[layer] for states in alone], 1))


@torch.no_grad()
@pytest.mark.parametrize("ratio", ["1:0", "1:1", "0:1"])
def test_padding_on_either_side(ratio):
    model, ids = build(ratio=ratio), ids_of(3, 9)
    mask = torch.tensor([[1] * 9, [0, 0] + [1] * 5 + [0, 0], [1] * 3 + [0] * 6])
    found = model(ids, attention_mask=mask).logits
    assert torch.isfinite(found).all()
    for row, (start, end) in enumerate([(0, 9), (2, 7), (0, 3)]):
        assert_close(found[row, start:end], model(ids[row : row + 1, start:end]).logits[0])
    # packed rows that are padded, and position ids of padded rows as generate makes them
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 5], [1, 1, 0, 1, 2, 3, 4, 5, 6], [0, 1, 0] + [0] * 6])
    packed = model(ids, attention_mask=mask, position_ids=positions).logits
    assert_close(packed[0, 3:], model(ids[:1, 3:]).logits[0])
    assert_close(packed[1, 2:7], found[1, 2:7])
    assert_close(packed[2, 2:3], model(ids[2:, 2:3]).logits[0])


@torch.no_grad()
def test_shapes_and_holes_that_do_not_fit():
    model, ids = build(), ids_of()
    with pytest.raises(MamTraError, match="between the inputs"):
        model(ids, attention_mask=torch.tensor([[1] * 5 + [0] + [1] * 5] * 2))
    with pytest.raises(MamTraError, match=r"position_ids have the shape \(11,\)"):
        model(ids, position_ids=torch.arange(11))
    restart = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]])
    with pytest.raises(MamTraError, match="use_cache=False"):
        model(ids, position_ids=restart, use_cache=True)
    with pytest.raises(MamTraError, match="cannot be combined with a cache"):
        model(ids, position_ids=restart, past_key_values=model(ids[:, :2]).past_key_values)
    right = torch.tensor([[1] * 11, [1] * 8 + [0] * 3])
    with pytest.raises(MamTraError, match="padding_side='left'"):
        model.generate(ids, attention_mask=right, max_new_tokens=2)
    assert find_segments(torch.ones(2, 3), torch.tensor([[4, 5, 6]]), 2, 3) is None


@pytest.mark.parametrize("section", ["lm", "causal_lm"])
def test_heads_and_tables_that_were_replaced_are_read(section):
    model, ids = build(section), ids_of()
    before = model(ids).logits
    for name in ["model.embed_tokens", *(["speech_embedding", "llm_embedding"] if section == "lm" else [])]:
        whole = torch.arange(52 if section == "lm" else 40)[None]
        table, seen = model.get_submodule(name), model.embed(whole)
        owner = model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], Doubled(table))
        changed = (model.embed(whole) != seen).any(-1)[0]
        assert changed.sum() == table.num_embeddings
        setattr(owner, name.rpartition(".")[2], table)
    assert torch.equal(model(ids).logits, before)
    model.set_output_embeddings(Doubled(model.get_output_embeddings()))
    assert_close(model(ids).logits, 2 * before)
    model.set_input_embeddings(Doubled(model.get_input_embeddings()))
    assert isinstance(model.model.embed_tokens, Doubled)


class Doubled(nn.Module):
    """Stands for an adapter: its ``weight`` is that of the layer inside, its result is not."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    @property
    def weight(self):
        """Of the layer inside."""
        return self.inner.weight

    def forward(self, x):
        """Twice what the layer inside gives."""
        return 2 * self.inner(x)


def test_adapters_where_they_would_have_no_effect():
    model = build()
    mixer = next(layer.mamba for layer in model.model.layers if hasattr(layer, "mamba"))
    mixer.conv1d.base_layer = mixer.conv1d.weight
    with pytest.raises(MamTraError, match="conv1d"):
        model(ids_of())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("size", [33, 50])
def test_resized_tables_are_saved_and_read_again(tmp_path, tied, size):
    model, ids = build(tie_word_embeddings=tied), ids_of()
    before = model(ids).logits
    model.resize_token_embeddings(size, mean_resizing=size == 33)
    after = model(ids).logits
    assert after.shape[-1] == size == model.config.vocab_size == model.config.sizes.vocab_size
    assert_close(after[..., : min(size, 40)], before[..., : min(size, 40)])
    if size > 40:
        assert model.model.embed_tokens.weight[40:].std() < 0.03
    model.save_pretrained(tmp_path / "resized")
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "resized")(ids).logits, after)
    assert model.resize_token_embeddings() is model.get_input_embeddings()


def test_what_cannot_be_resized_or_replaced():
    with pytest.raises(MamTraError, match="tables for text and for speech"):
        build("lm").resize_token_embeddings(50)
    with pytest.raises(MamTraError, match="tied"):
        build(tie_word_embeddings=True).set_output_embeddings(nn.Linear(2, 2))


@torch.no_grad()
def test_what_is_not_supported_is_refused():
    model, ids = build(), ids_of()
    with pytest.raises(MamTraError, match="attention weights"):
        model(ids, output_attentions=True)
    for name in ("cache_params", "past_key_value", "window"):
        with pytest.raises(MamTraError, match=f"{name} is not supported"):
            model(ids, **{name: 1})
    cache = model(ids).past_key_values
    with pytest.raises(MamTraError, match="same argument"):
        model(ids, past_key_values=cache, cache=cache)
    with pytest.raises(MamTraError, match="StaticLayer"):
        build(ratio="1:0")(ids, past_key_values=StaticCache(config=build(ratio="1:0").config, max_cache_len=20))
    for chosen in ("static", "quantized", "offloaded"):
        with pytest.raises(MamTraError, match=f"'{chosen}'"):
            model.generate(ids, cache_implementation=chosen)
        with pytest.raises(MamTraError, match=f"'{chosen}'"):
            model.generate(ids, generation_config=GenerationConfig(cache_implementation=chosen))
    with pytest.raises(MamTraError, match="labels go up to 30, logits to 29"):
        build("lm")(ids, labels=torch.full_like(ids, 30))
    model.set_attn_implementation("eager")
    with pytest.raises(MamTraError, match="'eager'"):
        model(ids)


@torch.no_grad()
@pytest.mark.parametrize("ratio", ["1:1", "0:1"])
def test_the_cache_under_both_names(ratio):
    model, ids = build(ratio=ratio), ids_of(1)
    words = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "attention_mask": torch.ones(1, 11).long()}
    expected = model.generate(ids, **words, use_cache=False)
    for more in ({}, {"cache_implementation": "dynamic"}):
        assert torch.equal(model.generate(ids, **words, **more), expected)
    config = GenerationConfig(cache_implementation="dynamic", eos_token_id=None, pad_token_id=1)
    assert torch.equal(model.generate(ids, config, **words), expected)
    for name in ("cache", "past_key_values"):
        started = model(ids[:, :5])
        assert CACHE_NAME in started and type(started.past_key_values).__name__.endswith("Cache")
        rest = model(ids[:, 5:], **{name: started.past_key_values})
        assert_close(rest.logits, model(ids).logits[:, 5:])
        cache = model(ids[:, :-1]).past_key_values
        assert torch.equal(model.generate(ids, **words, **{name: cache}), expected)


def test_tuples_and_hidden_states_of_the_configuration():
    model, ids = build(), ids_of()
    assert torch.equal(model(ids, return_dict=False)[0], model(ids).logits)
    model.config.output_hidden_states = True
    assert len(model(ids).hidden_states) == 5


@pytest.mark.parametrize("ratio", ["1:0", "1:1"])
def test_gradient_checkpointing_changes_no_gradient(ratio):
    model, ids = build(ratio=ratio).train(), ids_of()

    def gradients():
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    expected, calls = gradients(), []
    hook = model.model.layers[0].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    for reentrant in (False, True):
        calls.clear()
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        assert model.is_gradient_checkpointing
        for found, right in zip(gradients(), expected, strict=True):
            assert torch.equal(found, right)
        assert len(calls) == 2  # forward, and again for the backward pass
    hook.remove()


def test_the_loss_is_divided_by_the_items_of_the_whole_batch():
    model, ids = build(), ids_of(8)
    labels = ids.masked_fill(torch.rand(8, 11, generator=torch.Generator().manual_seed(3)) < 0.4, -100)
    whole = model(ids, labels=labels).loss
    items = (labels[:, 1:] != -100).sum()
    parts = [
        model(each, labels=label, num_items_in_batch=items).loss
        for each, label in zip(ids.split(2), labels.split(2), strict=True)
    ]
    assert_close(sum(parts), whole)
    assert_close(model(ids, shift_labels=nn.functional.pad(labels[:, 1:], (0, 1), value=-100)).loss, whole)


@pytest.mark.parametrize("section", ["lm", "causal_lm"])
def test_trainer_gives_the_same_loss_however_gradients_are_accumulated(tmp_path, section):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    data = [{"input_ids": row, "labels": row} for row in ids_of(8)]
    logged = []
    for rows, steps in ((8, 1), (2, 4)):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / str(steps)),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=steps,
            max_steps=1,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            gradient_checkpointing=True,
        )
        trainer = Trainer(model=build(section), args=arguments, train_dataset=data)
        trainer.train()
        logged.append([trainer.state.log_history[0][name] for name in ("loss", "grad_norm")])
        assert torch.isfinite(torch.tensor(trainer.evaluate(data)["eval_loss"]))
    assert logged[0] == pytest.approx(logged[1], rel=1e-4)


@pytest.mark.parametrize("section", ["lm", "causal_lm"])
def test_adapters_on_the_head_and_on_every_projection(section):
    peft = pytest.importorskip("peft")
    head = "llm_decoder" if section == "lm" else "lm_head"
    ids = ids_of()
    for options in (
        {"target_modules": [head]},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj"], "modules_to_save": [head, "embed_tokens", "norm", "conv1d"]},
    ):
        model = build(section)
        before = model(ids).logits
        settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False, **options)
        wrapped = peft.get_peft_model(model, settings).train()
        trainable = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
        wrapped(ids, labels=ids).loss.backward()
        unread = [name for name, p in trainable.items() if p.grad is None or not p.grad.any()]
        assert not [name for name in unread if "embed" not in name or section == "causal_lm"]
        assert not torch.allclose(wrapped(ids).logits, before)
        merged = wrapped.merge_and_unload() if "modules_to_save" not in options else None
        if merged is not None:
            assert_close(merged(ids).logits, wrapped(ids).logits)


def test_supervised_fine_tuning_with_the_defaults_of_trl(tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = [{"input_ids": row.tolist()} for row in ids_of(8)]
    options = {"output_dir": str(tmp_path), "max_steps": 2, "report_to": [], "use_cpu": True}
    for more in ({}, {"packing": True, "max_length": 16}, {"padding_free": True, "max_length": None}):
        trainer = trl.SFTTrainer(
            model=build(),
            args=trl.SFTConfig(**options, bf16=False, logging_steps=1, **more),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=a_tokenizer(tmp_path),
        )
        trainer.train()
        assert 0 < trainer.state.log_history[0]["loss"] < 10


def a_tokenizer(directory):
    """Words w0 to w39."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(40)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w39", pad_token="w38", unk_token="w0")


@torch.no_grad()
def test_incomplete_weights_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    build().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MamTraError, match=r"lacks the weights model\.norm\.weight"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
