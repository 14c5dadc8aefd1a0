"""Sizes of models by name, and from the files of a model directory. The values of weights are never read."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from mamtra.checkpoints.find import BUILT_IN, built_in_models
from mamtra.checkpoints.huggingface import causal_lm_config, not_a_model
from mamtra.checkpoints.model_files import CONFIG, is_native, read_config
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.cost.shapes import AttentionShape, Blueprint, LayerShape, MambaShape, blueprint_of
from mamtra.errors import MamTraError
from mamtra.models.config import CausalLMConfig, SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.runtime.json_files import read_json


def cosyvoice2_config() -> SpeechLMConfig:
    """CosyVoice 2 (0.5B), the paper's teacher: 24 layers of Qwen2.5-0.5B."""
    return SpeechLMConfig(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        head_dim=64,
        text_vocab_size=151936,
    )


def tiny_config(layers: int = 4) -> SpeechLMConfig:
    """A model of thin layers, to try a measurement."""
    return SpeechLMConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        text_vocab_size=300,
        num_speech_tokens=100,
        speech_vocab_size=103,
        eos_id=100,
        fill_id=102,
    )


def cosyvoice2() -> Blueprint:
    """CosyVoice 2; speech tokens at 25 Hz."""
    return blueprint_of(cosyvoice2_config(), "cosyvoice2")


def llasa_1b() -> Blueprint:
    """Llasa-1B: Llama-3.2-1B with the 65,536 speech tokens of X-codec2 at 50 Hz in its vocabulary."""
    config = CausalLMConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        rope_theta=5e5,
        rms_norm_eps=1e-5,
        attention_bias=False,
        mamba_qkv_bias=False,
        vocab_size=193800,
        tie_word_embeddings=True,
    )
    return blueprint_of(config, "llasa-1b", rate=50.0)


def zonos() -> Blueprint:
    """The backbone of Zonos-v0.1-hybrid, 46 layers; tables and heads of its nine codebooks are not described.

    Its Mamba layers are plain Mamba-2 (expansion 2, one group) and have no feed-forward; norms are LayerNorm, with
    weight and bias, and a Mamba layer has one where an attention layer has two. Frames of its codec are 512 samples at
    44.1 kHz.
    """
    width = 2048
    mamba = MambaShape(
        hidden=width, heads=64, head_dim=64, state_size=128, x_size=2 * width, b_size=128, c_size=128,
        chunk=256,
    )  # fmt: skip
    return Blueprint(
        name="zonos-v0.1",
        attention=LayerShape(AttentionShape(width, heads=16, groups=4, head_dim=128), 8192, 2 * 2 * width),
        mamba=LayerShape(mamba, 0, 2 * width),
        plan=LayerPlan.from_ratio(46, "1:3", "block-beg"),
        embeddings=0,
        head=None,
        head_parameters=0,
        final_norm=2 * width,
        rate=44100 / 512,
    )


PRESETS = {"cosyvoice2": cosyvoice2, "llasa-1b": llasa_1b, "zonos-v0.1": zonos}
"""Models whose sizes are known by name."""

_SECTIONS = ("lm", "causal_lm")


def find_blueprint(name: str | os.PathLike) -> Blueprint:
    """Sizes of a model.

    Args:
        name: a member of `PRESETS`, the built-in model, a model directory of this package, a published CosyVoice 2
            directory, or a directory with the config.json of a Hugging Face Qwen2 or Llama model.

    Raises:
        MamTraError: there is no such model, its config.json is damaged, or it has another architecture.
    """
    text = os.fspath(name)
    if text in PRESETS:
        return PRESETS[text]()
    if text == BUILT_IN:
        if text not in built_in_models():
            raise MamTraError(f"The built-in model {text!r} is not in this installation; try --model cosyvoice2.")
        return _from_native(built_in_models()[text])
    path = Path(os.path.expanduser(text))
    directory = path.parent if path.is_file() and path.name == CONFIG else path
    if not directory.is_dir():
        known = ", ".join((*PRESETS, BUILT_IN))
        raise MamTraError(f"There is no model {text!r}; give a directory that holds its {CONFIG}, or one of {known}.")
    if not (directory / CONFIG).is_file():  # published by CosyVoice
        return blueprint_of(open_language_model(directory).config, directory.resolve().name)
    if is_native(directory):
        return _from_native(directory)
    path = directory / CONFIG
    return blueprint_of(causal_lm_config(path, read_json(path)), directory.resolve().name)


def _from_native(directory: Path) -> Blueprint:
    config = read_config(directory)
    section = next((s for s in _SECTIONS if s in config), None)
    if section is None:
        raise MamTraError(f"The model {directory} has no language model to plan for; use a complete model.")
    try:
        return blueprint_of(PARTS[section].parse(config[section]), directory.resolve().name)
    except (ValidationError, ZeroDivisionError) as error:
        raise not_a_model(directory / CONFIG, error) from error
