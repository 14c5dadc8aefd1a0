"""MamTra's model directory: safetensors and JSON, nothing executable.

config.json                sizes of every part, sample rate, voice space, and the keys by which transformers finds its class
generation_config.json     sampling defaults
model.safetensors          the speech LM; flow, vocoder, speech_tokenizer, speaker_encoder beside it. A large one may be
                           shards that model.safetensors.index.json names
tokenizer.json             the text tokenizer; other text files of the front end beside it
voices/NAME.safetensors    voices
provenance.json            where the weights come from

A model that differs from another only in some parts holds those parts alone and names the other as `base` in config.json
(a built-in model by its name, or a directory relative to its own); parts, text files and voices that it lacks are the base's.
A part that it has may leave tensors to the base: its file holds those that differ, and names the others in its header
(`mamtra.checkpoints.parts.LEFT`). Whoever replaces a part of a base changes the models that are completed from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.model_files import (
    CONFIG,
    FORMAT,
    GENERATION,
    find_base,
    part_files,
    read_config,
    read_own_config,
)
from mamtra.checkpoints.parts import BESIDE, LEFT, PARTS
from mamtra.checkpoints.storage import check_lm_storage, group_entries, pack, unpack
from mamtra.checkpoints.strict_loading import load_strictly
from mamtra.checkpoints.tensor_files import INDEX, TensorFiles, TensorInfo, as_bytes, hash_tensors
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import read_json, write_json
from mamtra.runtime.strict_models import first_problem

PROVENANCE = "provenance.json"
LANGUAGE_MODELS = ("lm", "causal_lm")
"""Sections of the parts that are a language model; a directory has one of them."""
_LINE = 64
TRANSFORMERS_KEYS = {"model_type": "mamtra", "architectures": ["MamTraForCausalLM"]}
"""Keys of config.json by which transformers finds the class of the language model."""


def read_tensors(files: TensorFiles, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """All tensors of files, dequantised to `dtype`.

    They are copies: what happens to the file later does not change a model, and each view would keep a mapping
    of the whole file.

    Raises:
        MamTraError: a file is damaged.
    """
    kinds = {name: info.dtype for name, info in files.tensors.items()}
    tensors: dict[str, torch.Tensor] = {}
    for name, beside in group_entries(kinds).items():
        # one by one, so that at most one tensor is in memory in both types
        views = {each: files.read(each) for each in (name, *beside)}
        for each, tensor in unpack(views, dtype).items():
            tensors[each] = _copied(tensor) if tensor is views[each] else tensor
    return tensors


def _copied(view: torch.Tensor) -> torch.Tensor:
    """A copy as far from a cache line's beginning as the view: kernels choose by that, and rounding would differ."""
    if view.data_ptr() % view.element_size():
        return view.clone()
    size = view.numel() * view.element_size()
    room = torch.empty(size + _LINE, dtype=torch.uint8)
    start = (view.data_ptr() - room.data_ptr()) % _LINE
    copy = room[start : start + size].view(view.dtype).view(view.shape)
    return copy.copy_(view)


def load_part(directory: str | os.PathLike, section: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Load one part of a model, on the CPU, in eval mode.

    Args:
        section: a key of `PARTS`, such as "lm".
        dtype: type of its floating-point weights.

    Raises:
        MamTraError: the model lacks the part, a file is missing or damaged, or names and shapes do not fit.
    """
    part, config = PARTS[section], read_config(directory)
    file, base = part_files(directory, section)
    if section not in config:
        name = section.replace("_", " ")
        raise MamTraError(f"The model {file.parent} has no {name}, which {part.purpose}; use a complete model.")
    try:
        module = part.build(part.parse(config[section]))
    except ValidationError as error:
        raise MamTraError(f"{file.with_name(CONFIG)}, section {section!r}: {first_problem(error)}.") from error
    return load_strictly(module, read_tensors(TensorFiles(file, base), dtype), str(file))


def save_model(
    directory: str | os.PathLike,
    parts: Mapping[str, nn.Module],
    *,
    storage: str | Mapping[str, str] = "float32",
    sample_rate: int = 24000,
    generation: GenerationConfig | None = None,
    text_files: Mapping[str, str | os.PathLike] | None = None,
    provenance: Mapping[str, Any] | None = None,
    base: str | None = None,
    space: str | None = None,
) -> Path:
    """Write a model directory. Parts that are not given stay as they are. Tensors that its base has just so are left to it.

    Args:
        directory: made where it does not exist.
        parts: networks by section ("lm", "flow", "vocoder", "speech_tokenizer", "speaker_encoder"); each has `.config`.
            Weight norm is folded into the weights of what is written; the networks themselves are not changed.
        storage: "float32", "bfloat16", "float16", "int8" or, but for a language model, "int4", for all or by section.
        sample_rate: of the sound, Hz.
        text_files: files of the text front end to copy, by their name in the directory, e.g. {"tokenizer.json": path}.
        provenance: content of provenance.json; the hashes of the weights are added.
        base: of the model that has the parts which this one lacks: a built-in name, or its directory relative to this one.
            By default the one that the directory names already.
        space: the `voice_space` of another speech tokenizer whose tokens a given one writes.

    Raises:
        MamTraError: unknown section or storage, weights that are not numbers, or a base that is not there.
    """
    kinds = {name: storage if isinstance(storage, str) else storage.get(name, "float32") for name in parts}
    for section, kind in kinds.items():
        if section not in PARTS:
            raise MamTraError(f"A model has no part {section!r}; the parts are {', '.join(PARTS)}.")
        if section in LANGUAGE_MODELS:
            check_lm_storage(kind)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = read_json(directory / CONFIG) if (directory / CONFIG).exists() else {}
    if base is not None:
        config["base"] = base
    completed_by = find_base(directory, config.get("base")) if parts else None
    for section, module in parts.items():
        kind = kinds[section]
        packed = pack(_plain_state(section, module), kind)
        file, metadata = directory / PARTS[section].file, {"format": "pt", "storage": kind}
        if completed_by is not None and section in read_own_config(completed_by):
            left = _same_tensors(packed, TensorFiles(completed_by / file.name))
            if left:
                metadata[LEFT] = " ".join(left)
            taken = {name + ending for name in left for ending in ("", *BESIDE)}
            packed = {name: tensor for name, tensor in packed.items() if name not in taken}
        file.with_name(file.name + INDEX).unlink(missing_ok=True)
        infos = {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in packed.items()}
        with TensorWriter(file, infos, metadata=metadata) as writer:
            for name, tensor in packed.items():
                writer.write(name, tensor)
        config[section] = module.config.model_dump(mode="json")
        if section in LANGUAGE_MODELS:
            config |= TRANSFORMERS_KEYS
    for name, source in (text_files or {}).items():
        shutil.copyfile(source, directory / name)
    config |= {"format": FORMAT, "sample_rate": sample_rate}
    write_json(directory / CONFIG, config)
    own_voices = not {"voice_space", "base"} & config.keys()  # with a base, that model's voices are used
    if "speech_tokenizer" in parts or own_voices:
        config["voice_space"] = space if space is not None else voice_space(directory)
        write_json(directory / CONFIG, config)
    if generation is not None or not (directory / GENERATION).exists():
        write_json(directory / GENERATION, (generation or GenerationConfig()).model_dump(mode="json"))
    if provenance is not None:
        write_json(directory / PROVENANCE, {**provenance, "sha256": hash_model(directory)})
    return directory


def hash_weights(path: str | os.PathLike) -> str:
    """SHA-256 of the tensors of a safetensors file (names, types, shapes, bytes), whatever their order, metadata and
    shards."""
    return hash_tensors(TensorFiles(path))


def hash_part(directory: str | os.PathLike, section: str) -> str:
    """`hash_weights` of a part of a model, whichever of its tensors are the base's."""
    return hash_tensors(TensorFiles(*part_files(directory, section)))


def hash_model(directory: str | os.PathLike) -> dict[str, str]:
    """SHA-256 of every part that a model directory has itself, by section."""
    own = read_own_config(directory)
    return {section: hash_part(directory, section) for section in PARTS if section in own}


def voice_space(directory: str | os.PathLike) -> str:
    """Fingerprint of the speech tokenizer: models with the same one can share voices. One that was trained on so that its tokens
    stay the same keeps that of the first one in its model's configuration.

    Empty where the directory has no speech tokenizer.
    """
    path = Path(directory) / PARTS["speech_tokenizer"].file
    return hash_part(directory, "speech_tokenizer")[:16] if path.is_file() else ""


def _plain_state(section: str, module: nn.Module) -> dict[str, torch.Tensor]:
    """State dict with weight norm folded in, under the names that the stored form of the part has."""
    state = module.state_dict()
    if not PARTS[section].weight_norm:
        return dict(state)
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        owner, found, slot = name.partition(".parametrizations.")
        if not found:
            plain[name] = tensor
            continue
        weight = slot.split(".", 1)[0]
        plain[f"{owner}.{weight}"] = getattr(module.get_submodule(owner), weight)
    return plain


def _same_tensors(packed: Mapping[str, torch.Tensor], files: TensorFiles) -> list[str]:
    """Names of the tensors that files have with the same type, shape and bytes; of a quantised one what belongs to it too."""

    def same(name: str) -> bool:
        if name not in packed or name not in files.tensors:
            return name not in packed and name not in files.tensors
        tensor = packed[name]
        known = files.tensors[name] == TensorInfo(tensor.dtype, tuple(tensor.shape))
        return known and as_bytes(files.read(name)) == as_bytes(tensor)

    beside = {name + ending for name in packed for ending in BESIDE}
    return [name for name in packed if name not in beside and all(same(name + ending) for ending in ("", *BESIDE))]
