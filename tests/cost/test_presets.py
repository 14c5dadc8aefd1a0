"""Sizes from presets, model directories of this package, and Hugging Face configurations."""

import json

import pytest

from mamtra.checkpoints.model_files import read_config
from mamtra.cost.presets import PRESETS, find_blueprint
from mamtra.errors import MamTraError
from tests.factories import tiny_model

QWEN2 = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}


@pytest.fixture
def hugging_face(tmp_path):
    def write(**changes):
        config = {key: value for key, value in (QWEN2 | changes).items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return write


def test_presets():
    """Sizes as published: 0.5 B with 24 layers, 1.3 B (1.37 truncated) with 16, 1.6 B with 46."""
    sizes = {name: (find_blueprint(name).plan.num_layers, find_blueprint(name).parameters()) for name in PRESETS}
    assert {name: (layers, int(n / 1e8)) for name, (layers, n) in sizes.items()} == {
        "cosyvoice2": (24, 5),
        "llasa-1b": (16, 13),
        "zonos-v0.1": (46, 16),
    }
    assert find_blueprint("zonos-v0.1").plan.attention_layers == tuple(range(0, 46, 4))


def test_native_directory(tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    blueprint = find_blueprint(directory)
    assert blueprint.name == "tiny" and str(blueprint.plan) == "AM"
    assert blueprint.hidden == 32 and blueprint.attention.feed_forward == 48
    assert find_blueprint(directory / "config.json") == blueprint


def test_native_causal_lm(tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    config = read_config(directory)
    lm = {
        k: v for k, v in config["lm"].items() if k not in ("text_vocab_size", "num_speech_tokens", "speech_vocab_size")
    }
    lm = {k: v for k, v in lm.items() if k not in ("eos_id", "fill_id", "mix_ratio")}
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "causal_lm": lm | {"vocab_size": 100}}))
    assert find_blueprint(tmp_path).head == 100


def test_qwen2(hugging_face):
    """Qwen2.5-0.5B has 494,032,768 parameters."""
    assert find_blueprint(hugging_face()).parameters() == 494_032_768


def test_llama(hugging_face):
    """Llama-3.2-1B has 1,235,814,400 parameters."""
    directory = hugging_face(
        model_type="llama", hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, vocab_size=128256, attention_bias=False,
    )  # fmt: skip
    assert find_blueprint(directory).parameters() == 1_235_814_400


def test_defaults_of_old_llama_configurations(hugging_face):
    directory = hugging_face(model_type="llama", num_key_value_heads=None, tie_word_embeddings=None)
    blueprint = find_blueprint(directory)
    assert blueprint.attention.mixer.groups == 14 and blueprint.head_parameters == 896 * 151936


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_type": "gpt2"}, "architecture 'gpt2'; of Hugging Face models qwen2 and llama are read"),
        ({"model_type": None}, "architecture None"),
        ({"hidden_size": "wide"}, "does not describe a model"),
        ({"head_dim": 64, "hidden_size": "wide"}, "model: hidden_size"),
        ({"num_attention_heads": 0}, "does not describe a model"),
        ({"format": 1}, "no language model"),
        ({"format": 1, "lm": {"hidden_size": 4}}, "model: intermediate_size"),
        ({"format": 99}, "format 99"),
    ],
)
def test_configurations_that_are_refused(hugging_face, changes, words):
    with pytest.raises(MamTraError, match=words) as caught:
        find_blueprint(hugging_face(**changes))
    assert "\n" not in str(caught.value)


def test_places_without_a_model(tmp_path):
    with pytest.raises(MamTraError, match="no model 'nothing'; give a directory"):
        find_blueprint("nothing")
    with pytest.raises(MamTraError, match="holds no language model"):
        find_blueprint(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(MamTraError, match="JSON object"):
        find_blueprint(tmp_path)


def test_the_built_in_model_may_be_missing(monkeypatch):
    monkeypatch.setattr("mamtra.cost.presets.built_in_models", dict)
    with pytest.raises(MamTraError, match="'mini' is not in this installation"):
        find_blueprint("mini")


def test_the_built_in_model(monkeypatch, tmp_path):
    directory = tiny_model(tmp_path / "mini")
    monkeypatch.setattr("mamtra.cost.presets.built_in_models", lambda: {"mini": directory})
    assert find_blueprint("mini").name == "mini"
