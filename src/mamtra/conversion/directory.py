"""Write a conversion as a model directory, complete or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from mamtra.checkpoints.cosyvoice.files import VOICE_SPACES
from mamtra.checkpoints.model_files import CONFIG, FORMAT, base_of, name_base
from mamtra.checkpoints.native import PROVENANCE, TRANSFORMERS_KEYS, hash_part
from mamtra.checkpoints.open_lm import REPORT
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import choose_storage, dequantise_rows, quantise_rows, unpack
from mamtra.checkpoints.tensor_files import TensorFiles
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.conversion.checks import LIMIT, linear_attention_error
from mamtra.conversion.cosyvoice import converted_files, write_other_parts
from mamtra.conversion.job import Conversion, Progress
from mamtra.conversion.report import describe
from mamtra.conversion.tensors import copy_tensors, read_attention, read_back, transfer_layers
from mamtra.conversion.transfer import TensorOrigin, mamba_prefix
from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_directory, check_parent, write_text
from mamtra.runtime.json_files import write_json
from mamtra.version import VERSION


def write_directory(conversion: Conversion, dst: str | os.PathLike, progress: Progress | None = None) -> dict[str, Any]:
    """Carry out a conversion.

    Everything is written to a partial directory beside `dst`, read back, and renamed at the end; a failure leaves nothing
    behind.

    Args:
        conversion: what to make.
        dst: directory to make, absent or empty.
        progress: called with the bytes done and their total.

    Returns:
        The content of provenance.json.

    Raises:
        MamTraError: the destination is not empty or cannot be written, the disk is full, the teacher's files are damaged or hold
            non-finite weights, or a check fails.
    """
    dst = Path(dst)
    check_destination(dst, conversion)
    with atomic_directory(dst, size=conversion.bytes + _companion_bytes(conversion)) as partial:
        return _fill(conversion, partial, dst, progress)


def check_destination(dst: Path, conversion: Conversion) -> None:
    """Refuse a destination at which no directory can be made.

    Raises:
        MamTraError: it is not empty, its parent is missing, it lies inside the source, or the disk has too little space.
    """
    if dst.exists() and not dst.is_dir():
        raise MamTraError(f"{dst} is a file; name a directory to make.")
    if dst.is_dir() and any(dst.iterdir()):
        raise MamTraError(f"The directory {dst} is not empty; name another one, or empty it first.")
    if dst.is_symlink():
        raise MamTraError(f"{dst} is a link; name the directory itself.")
    check_parent(dst.absolute())
    source = conversion.teacher.directory.resolve()
    if dst.resolve() == source or dst.resolve().is_relative_to(source):
        raise MamTraError(f"{dst} lies in the directory that is to be converted; name one outside.")
    needs, has = conversion.bytes + _companion_bytes(conversion), shutil.disk_usage(dst.absolute().parent).free
    if needs > has:
        raise MamTraError(
            f"{dst} needs {needs / 1e9:.2f} GB, but the disk has {has / 1e9:.2f} GB left; free some space first."
        )


def _fill(conversion: Conversion, folder: Path, dst: Path, progress: Progress | None) -> dict[str, Any]:
    """Write all files of the directory to a folder. Returns the content of provenance.json."""
    teacher = conversion.teacher
    total, done = teacher.bytes + conversion.bytes, 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    path = folder / conversion.file
    header = {"format": "pt", "storage": conversion.storage}
    with TensorWriter(path, conversion.tensors, shard_bytes=conversion.shard_bytes, metadata=header) as writer:
        sha256, origins = copy_tensors(conversion, writer, tick)
        origins += transfer_layers(conversion, writer)
    files = TensorFiles(path)
    mine, compared = read_back(conversion, files, tick)
    checks = [{"check": "copied tensors are bit-identical", "tensors": compared, "passed": True}]
    checks.append(_check_linear_attention(conversion, files))
    for place, source in teacher.companions.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / place)
    parts = write_other_parts(teacher.directory, folder, teacher.config) if teacher.kind in VOICE_SPACES else {}
    config = {**teacher.settings, **parts, teacher.section: conversion.config.model_dump(mode="json")}
    base = base_of(teacher.directory) if teacher.kind == "native" else None
    if base is not None:
        config["base"] = name_base(base, dst)
    write_json(folder / CONFIG, config | {"format": FORMAT} | TRANSFORMERS_KEYS)
    others = {name: hash_part(folder, name) for name in PARTS if name in config and name != teacher.section}
    provenance = {
        "teacher": {
            "name": teacher.name,
            "format": teacher.kind,
            "parameters": teacher.parameters,
            "sha256": sha256,
            **teacher.source_info,
        },
        "plan": {
            "plan": str(conversion.plan),
            "ratio": conversion.plan.ratio,
            "strategy": conversion.plan.strategy,
            "layer_types": list(conversion.plan.layer_types),
        },
        "conversion": {
            "versions": {"mamtra": VERSION, "torch": torch.__version__},
            "options": conversion.options.model_dump(),
            "seed": conversion.seed,
            "storage": conversion.storage,
            "parameters": conversion.parameters,
            "files": [file.name for file in files.files],
            "tensors": [_record(origin) for origin in origins],
            "unused": {**teacher.unused, **_dropped(conversion, origins)},
            "other_parts": sorted(parts),
            "converted_files": list(_converted(conversion)),
            "left_files": [name for name in teacher.not_copied if name not in _converted(conversion)],
            "checks": checks,
        },
        "sha256": {teacher.section: mine, **others},
    }
    write_json(folder / PROVENANCE, provenance)
    write_text(folder / REPORT, describe(provenance, origins))
    return provenance


def _check_linear_attention(conversion: Conversion, files: TensorFiles) -> dict[str, Any]:
    """Compare the first converted layer, read back, with the paper's Eq. 4."""
    found: dict[str, Any] = {"check": "linear attention of Eq. 4"}
    if not conversion.new_layers:
        return found | {"passed": None, "reason": "no layer became Mamba"}
    if conversion.options.init != "transfer":
        return found | {"passed": None, "reason": "the projections are not those of attention"}
    layer = conversion.new_layers[0]
    prefix = mamba_prefix(layer)
    mixer = unpack({name: files.read(name) for name in files.tensors if name.startswith(prefix)})
    mixer = {name.removeprefix(prefix): tensor for name, tensor in mixer.items()}
    attention = read_attention(conversion, layer)
    for name, tensor in attention.items():
        if name.endswith(".weight"):
            home = "out_proj.weight" if name == "o_proj.weight" else "in_proj.weight"
            attention[name] = _rounded(tensor, choose_storage(mixer[home], conversion.storage))
    error = linear_attention_error(conversion.config, mixer, attention, conversion.options)
    if not error <= LIMIT:
        raise MamTraError(
            f"Layer {layer} differs from the linear attention of its source by {error:.1e} (limit {LIMIT:g}); nothing was "
            "left behind. Please report this."
        )
    return found | {"passed": True, "layer": layer, "relative_error": error, "limit": LIMIT}


def _rounded(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """A matrix as stored and read back; rows are rounded independently, so a block may be rounded alone."""
    if kind == "int8":
        return dequantise_rows(*quantise_rows(weight))
    return weight.to(getattr(torch, kind)).float()


def _dropped(conversion: Conversion, origins: list[TensorOrigin]) -> dict[str, str]:
    """Parameters of the teacher that were not used, with the reason."""
    used = {origin.source for origin in origins}
    init = conversion.options.init
    why = (
        "biases are dropped (qkv_bias drop)"
        if init == "transfer"
        else f"projections are randomly initialised (init {init})"
    )
    return {name: why for name in conversion.teacher.names.values() if name not in used}


def _record(origin: TensorOrigin) -> dict[str, Any]:
    return {name: value for name, value in vars(origin).items() if value not in (None, "")}


def _companion_bytes(conversion: Conversion) -> int:
    teacher = conversion.teacher
    others = (teacher.directory / name for name in _converted(conversion))
    return sum(path.stat().st_size for path in (*teacher.companions.values(), *others))


def _converted(conversion: Conversion) -> tuple[str, ...]:
    """Files of the source that are converted."""
    teacher = conversion.teacher
    return converted_files(teacher.directory) if teacher.kind in VOICE_SPACES else ()
