"""Language models of other formats: sizes, names, what is refused, and that they compute the same."""

import json
import re
import shutil

import pytest
import torch

from mamtra.checkpoints.cosyvoice.lm import PickledTensors
from mamtra.checkpoints.huggingface import causal_lm_config
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.errors import MamTraError
from mamtra.models.config import CausalLMConfig
from mamtra.ops.rope import Llama3Scaling
from tests.factories import tiny_model
from tests.foreign import cosyvoice_directory, cosyvoice_state, huggingface_directory, huggingface_state

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_huggingface(tmp_path, kind, tied, shards):
    lm = open_language_model(huggingface_directory(tmp_path / "m", kind, tied=tied, shards=shards))
    state = huggingface_state(kind, tied)
    assert lm.section == "causal_lm" and isinstance(lm.config, CausalLMConfig)
    assert lm.config.attention_bias == (kind == "qwen2") and lm.config.tie_word_embeddings == tied
    assert lm.config.eos_ids == (3, 5) and lm.storage == "float32"
    assert lm.parameters == sum(value.numel() for value in state.values())
    assert all(torch.equal(lm.read(name), value) for name, value in state.items())
    assert set(lm.companions) == {"LICENSE", "tokenizer.json"} and lm.not_copied == ("generation_config.json",)


@pytest.mark.parametrize(
    ("changes", "theta", "scaling"),
    [
        ({}, 1e4, None),
        ({"rope_theta": None}, 1e4, None),
        ({"rope_scaling": {"rope_type": "default"}}, 1e4, None),
        ({"rope_scaling": {"rope_type": "llama3", **LLAMA3}, "rope_theta": 5e5}, 5e5, Llama3Scaling(8, 1, 4, 64)),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 7.0, **LLAMA3}}, 7.0, Llama3Scaling(8, 1, 4, 64)),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}, "rope_theta": None}, 9.0, None),
    ],
)
def test_rotary_positions_of_both_versions(tmp_path, changes, theta, scaling):
    config = open_language_model(huggingface_directory(tmp_path / "m", "llama", **changes)).config
    assert config.rope_theta == theta and config.rope_scaling == scaling


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("mistral", {}, "architecture 'mistral'; of Hugging Face models qwen2 and llama"),
        ("llama", {"attention_bias": True}, "attention_bias"),
        ("llama", {"mlp_bias": True}, "mlp_bias"),
        ("llama", {"hidden_act": "gelu"}, "silu"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantised"),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "of type 'yarn'"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "of type 'linear'"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor"),
        ("llama", {"partial_rotary_factor": 0.5}, "part of each head"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}, "sliding window"),
        ("qwen2", {"layer_types": ["full_attention", "sliding_attention"] * 2}, "sliding window"),
        ("qwen2", {"hidden_size": None}, "lacks hidden_size"),
        ("qwen2", {"num_attention_heads": 3}, "multiple"),
        ("qwen2", {"vocab_size": 49}, r"model\.embed_tokens\.weight is \(50, 24\) and should be \(49, 24\)"),
        ("qwen2", {"num_hidden_layers": 5}, r"missing \(model\.layers\.4"),
        ("qwen2", {"num_hidden_layers": 3}, r"unknown \(model\.layers\.3"),
    ],
)
def test_what_is_refused(tmp_path, kind, changes, problem):
    directory = huggingface_directory(tmp_path / "m", kind, **changes)
    with pytest.raises(MamTraError, match=problem) as caught:
        open_language_model(directory)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_an_idle_sliding_window_is_no_matter(tmp_path):
    changes = {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 4}
    assert open_language_model(huggingface_directory(tmp_path / "m", **changes)).config.num_hidden_layers == 4


def test_pickled_and_missing_weights(tmp_path):
    directory = huggingface_directory(tmp_path / "m")
    (directory / "model.safetensors").unlink()
    with pytest.raises(MamTraError, match=r"model\.safetensors is missing"):
        open_language_model(directory)
    (directory / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(MamTraError, match="save it once with transformers"):
        open_language_model(directory)


def test_directories_of_nothing(tmp_path):
    with pytest.raises(MamTraError, match="holds no language model; give"):
        open_language_model(tmp_path)
    with pytest.raises(MamTraError, match="no model"):
        open_language_model(tmp_path / "nowhere")
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(MamTraError, match=r"config\.json"):
            open_language_model(tmp_path)


def test_cosyvoice(tmp_path):
    lm = open_language_model(cosyvoice_directory(tmp_path / "m"))
    config, state = lm.config, cosyvoice_state()
    assert (config.text_vocab_size, config.speech_vocab_size, config.eos_id, config.fill_id) == (40, 30, 27, 29)
    assert config.num_attention_heads == 4 and config.rope_theta == 1e6
    assert set(lm.unused) == {"llm.model.lm_head.weight"}
    assert {*lm.names.values(), *lm.unused} == {name for name in state if name not in ("epoch", "step")}
    assert torch.equal(lm.read("model.norm.weight"), state["llm.model.model.norm.weight"])
    assert set(lm.companions) == {"merges.txt", "tokenizer_config.json", "vocab.json"}
    assert "flow.pt" in lm.not_copied and "llm.pt" not in lm.not_copied


@pytest.mark.parametrize("damage", ["cut", "object", "list", "missing sizes", "another model"])
def test_damaged_cosyvoice(tmp_path, damage):
    directory = cosyvoice_directory(tmp_path / "m")
    weights = directory / "llm.pt"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-2000])
    elif damage == "object":
        torch.save({"a": pytest.raises}, weights)
    elif damage == "list":
        torch.save([torch.zeros(1)], weights)
    elif damage == "missing sizes":
        (directory / "CosyVoice-BlankEN" / "config.json").unlink()
    else:
        state = cosyvoice_state()
        del state["llm_embedding.weight"]
        torch.save(state, weights)
    expected = {
        "cut": r"llm\.pt is damaged",
        "object": "holds more than tensors",
        "list": "tensors by name",
        "missing sizes": "how many heads",
        "another model": r"no llm_embedding\.weight",
    }
    with pytest.raises(MamTraError, match=expected[damage]):
        open_language_model(directory)


def test_a_pickled_file_is_mapped_anew_from_time_to_time(tmp_path, monkeypatch):
    source = PickledTensors(cosyvoice_directory(tmp_path / "m") / "llm.pt")
    loads = []
    monkeypatch.setattr(PickledTensors, "RELOAD_BYTES", 8000)
    load = PickledTensors._load
    monkeypatch.setattr(PickledTensors, "_load", lambda self: loads.append(1) or load(self))
    state = cosyvoice_state()
    assert all(torch.equal(source.read(name), state[name]) for name in source.tensors)
    assert 2 < len(loads) < len(source.tensors)


def test_native(tmp_path):
    directory = tiny_model(tmp_path / "m", storage="int8")
    (directory / "README.md").write_text("about other weights")
    lm = open_language_model(directory)
    assert lm.kind == "native" and lm.storage == "int8" and lm.section == "lm"
    assert "model.safetensors" not in lm.companions and "voices/tiny.safetensors" in lm.companions
    assert lm.not_copied == ("README.md",) and "flow.safetensors" in lm.companions
    assert lm.is_quantised("model.embed_tokens.weight") and not lm.is_quantised("model.norm.weight")
    assert lm.read("model.embed_tokens.weight").dtype == torch.float32


def test_native_without_a_language_model(tmp_path):
    directory = tiny_model(tmp_path / "m")
    config = json.loads((directory / "config.json").read_text())
    del config["lm"]
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(MamTraError, match="no language model"):
        open_language_model(directory)


def test_sizes_read_the_same_from_transformers_own_classes(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(num_hidden_layers=2)
    config.save_pretrained(tmp_path)
    found = causal_lm_config(tmp_path / "config.json", json.loads((tmp_path / "config.json").read_text()))
    assert (found.hidden_size, found.head_dim, found.rope_theta) == (4096, 128, 1e4)


def test_parity_vectors_directory(golden, tmp_path):
    directory, said = golden.directory, golden.index["config"]["lm"]
    config = open_language_model(directory).config
    assert (config.hidden_size, config.num_hidden_layers, config.text_vocab_size) == tuple(
        said[name] for name in ("h", "layers", "vocab")
    )
    assert config.fill_id == config.eos_id + 2 == config.num_speech_tokens + 2
    # the directory that other tests make has its layout
    made = cosyvoice_directory(tmp_path / "m")
    files = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    assert files <= {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    shape = re.compile(r"(?<=layers\.)\d+")
    names = {shape.sub("N", name) for name in torch.load(directory / "llm.pt", weights_only=True)}
    assert names == {shape.sub("N", name) for name in cosyvoice_state()}
    shutil.rmtree(made)
