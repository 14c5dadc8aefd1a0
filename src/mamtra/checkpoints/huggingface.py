"""Qwen2 and Llama directories of Hugging Face transformers, versions 4 and 5: config.json and safetensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mamtra.checkpoints.stored_lm import StoredLM, own_names
from mamtra.checkpoints.tensor_files import INDEX, TensorFiles
from mamtra.errors import MamTraError
from mamtra.models.config import CausalLMConfig
from mamtra.ops.rope import Llama3Scaling
from mamtra.runtime.json_files import read_json
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import first_problem

SUPPORTED = ("qwen2", "llama")
WEIGHTS = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
_LICENCE = re.compile(r"(LICEN[CS]E|NOTICE)(\.\w+)?", re.IGNORECASE)
_FREQUENCIES = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


def open_huggingface(directory: Path) -> StoredLM:
    """Open a Qwen2 or Llama causal language model.

    Raises:
        MamTraError: another architecture, an unsupported setting, or files that are missing or
            damaged.
    """
    config = read_json(directory / "config.json")
    if not any((directory / (WEIGHTS + suffix)).is_file() for suffix in ("", INDEX)):
        if list(directory.glob("pytorch_model*.bin")):
            raise MamTraError(
                f"{directory} holds pickled weights; load and save it once with transformers, which writes safetensors."
            )
        raise MamTraError(f"{directory / WEIGHTS} is missing; get the model again or check the path.")
    sizes = causal_lm_config(directory / "config.json", config, _eos_ids(directory, config))
    source = TensorFiles(directory / WEIGHTS)
    unused = {name: "computed from the configuration" for name in source.tensors if _FREQUENCIES.fullmatch(name)}
    if sizes.tie_word_embeddings and "lm_head.weight" in source.tensors:
        unused["lm_head.weight"] = "tied to model.embed_tokens.weight"
    files = sorted(path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    taken = [name for name in files if name in TOKENIZER_FILES or _LICENCE.fullmatch(name)]
    gone = {*taken, "config.json", WEIGHTS + INDEX, *(path.name for path in source.files)}
    return StoredLM(
        directory,
        "huggingface",
        "causal_lm",
        sizes,
        source,
        own_names(source, unused),
        unused=unused,
        companions={name: directory / name for name in taken},
        not_copied=tuple(name for name in files if name not in gone),
        source_info={"architecture": config["model_type"], "name_or_path": str(config.get("_name_or_path") or "")},
    )


def causal_lm_config(path: Path, config: dict[str, Any], eos_ids: tuple[int, ...] = ()) -> CausalLMConfig:
    """Sizes from the content of a config.json.

    Args:
        path: of the file, for messages.
        config: its content.
        eos_ids: each ends generation.

    Raises:
        MamTraError: another architecture, an unsupported setting, or sizes that are missing or
            contradict each other.
    """
    kind = config.get("model_type")
    if kind not in SUPPORTED:
        raise MamTraError(
            f"{path} has the architecture {printable(repr(kind))}; of Hugging Face models "
            f"{' and '.join(SUPPORTED)} are read."
        )
    _refuse_what_is_missing(path, config)
    rope = _rope(path, config)
    try:
        heads = config["num_attention_heads"]
        return CausalLMConfig(
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            rope_theta=rope.get("rope_theta", 1e4),
            rope_scaling=_scaling(path, rope),
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            attention_bias=kind == "qwen2",
            mamba_qkv_bias=kind == "qwen2",
            vocab_size=config["vocab_size"],
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            eos_ids=eos_ids,
        )
    except KeyError as error:
        raise MamTraError(f"{path} lacks {error.args[0]}; get the model again.") from error
    except (ValidationError, TypeError, ZeroDivisionError) as error:
        raise not_a_model(path, error) from error


def not_a_model(path: Path, error: Exception) -> MamTraError:
    """What is said of a config.json whose sizes cannot be."""
    where = f": {first_problem(error)}" if isinstance(error, ValidationError) else "; get it again"
    return MamTraError(f"{path} does not describe a model{where}.")


def _refuse_what_is_missing(path: Path, config: dict[str, Any]) -> None:
    kinds = config.get("layer_types")
    if kinds is None and config.get("use_sliding_window") and config.get("sliding_window"):
        layers = config.get("num_hidden_layers") or 0
        kinds = ["sliding_attention"] * (layers - min(layers, config.get("max_window_layers") or 0))
    problems = {
        "attention over a sliding window": any(kind != "full_attention" for kind in kinds or ()),
        "biases in the output projections (attention_bias)": bool(config.get("attention_bias")),
        "biases in the feed-forward (mlp_bias)": bool(config.get("mlp_bias")),
        "another activation than silu": config.get("hidden_act", "silu") != "silu",
        "quantised weights": config.get("quantization_config") is not None,
    }
    found = [what for what, is_so in problems.items() if is_so]
    if found:
        raise MamTraError(f"{path} asks for {found[0]}, which this package does not support.")


def _rope(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Settings of RoPE: ``rope_parameters`` in transformers 5, ``rope_theta`` and ``rope_scaling`` in version 4."""
    rope = config.get("rope_parameters") or {}
    old = config.get("rope_scaling") or {}
    if not isinstance(rope, dict) or not isinstance(old, dict):
        raise MamTraError(f"{path} does not describe rotary positions; get the model again.")
    found = {key: config[key] for key in ("rope_theta", "partial_rotary_factor") if config.get(key) is not None}
    return found | old | rope


def _scaling(path: Path, rope: dict[str, Any]) -> Llama3Scaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3") or rope.get("partial_rotary_factor", 1) != 1:
        what = f"of type {printable(repr(kind))}" if kind not in ("default", "llama3") else "over a part of each head"
        raise MamTraError(
            f"{path} asks for rotary positions {what}; only 'default' and 'llama3' over whole heads are supported."
        )
    if kind == "default":
        return None
    return Llama3Scaling(
        rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    )


def _eos_ids(directory: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """Ids that end generation; those of generation_config.json count first, as in transformers."""
    path = directory / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    ids = generation.get("eos_token_id", config.get("eos_token_id"))
    return tuple(ids) if isinstance(ids, list) else () if ids is None else (ids,)
