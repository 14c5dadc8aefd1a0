"""The tensors of a conversion, one at a time: copied, transferred, read back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mamtra.checkpoints.storage import pack
from mamtra.checkpoints.tensor_files import TensorFiles, update_digest
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.conversion.job import Conversion
from mamtra.conversion.transfer import TensorOrigin, attention_prefix, mamba_prefix, mixer_from_attention, placed
from mamtra.errors import MamTraError

Tick = Callable[[int], None]
"""Called with the number of bytes just processed."""


def copy_tensors(conversion: Conversion, writer: TensorWriter, tick: Tick) -> tuple[str, list[TensorOrigin]]:
    """Read all tensors of the teacher once and write those that are copied.

    Returns:
        SHA-256 of the teacher's tensors, as `mamtra.checkpoints.tensor_files.hash_tensors` defines it, and the origins of
        what was written.

    Raises:
        MamTraError: a weight is not finite, or the teacher's files are damaged.
        OSError: the disk is full or fails.
    """
    teacher, digest, origins = conversion.teacher, hashlib.sha256(), []
    parameters = {teacher.names[name]: name for name in conversion.copied}
    rule = f"stored as {conversion.storage}" if conversion.repacks else ""
    for name, info in teacher.source.tensors.items():
        tensor = teacher.source.read(name)
        update_digest(digest, name, tensor)
        _check_numbers(name, tensor, str(teacher.source.path))
        if name in parameters:
            parameter = parameters[name]
            for mine, stored in conversion.stored_form(parameter).items():
                writer.write(mine, stored)
            origins.append(TensorOrigin(parameter, "copied", name, rule=rule))
        del tensor
        tick(info.bytes)
    return digest.hexdigest(), origins


def transfer_layers(conversion: Conversion, writer: TensorWriter) -> list[TensorOrigin]:
    """Write the mixers that replace attention, layer by layer.

    Returns:
        Their origins, with source names as in the teacher's files.

    Raises:
        MamTraError: the teacher's files are damaged.
        OSError: the disk is full or fails.
    """
    teacher, origins = conversion.teacher, []
    generator = torch.Generator().manual_seed(conversion.seed)
    for layer in conversion.new_layers:
        attention = read_attention(conversion, layer)
        made, notes = mixer_from_attention(conversion.config, attention, conversion.options, generator)
        for name, tensor in pack({mamba_prefix(layer) + n: t for n, t in made.items()}, conversion.storage).items():
            writer.write(name, tensor)
        for note in (placed(note, layer) for note in notes):
            origins.append(replace(note, source=note.source and teacher.names[note.source]))
    return origins


def read_attention(conversion: Conversion, layer: int) -> dict[str, Tensor]:
    """Parameters of one attention layer of the teacher in float32, by their names in it."""
    prefix, teacher = attention_prefix(layer), conversion.teacher
    return {n.removeprefix(prefix): teacher.read(n).float() for n in teacher.names if n.startswith(prefix)}


def read_back(conversion: Conversion, files: TensorFiles, tick: Tick) -> tuple[str, int]:
    """Read what was written and compare every copied tensor with the teacher's, bit by bit.

    Returns:
        SHA-256 of the tensors, and how many parameters were compared.

    Raises:
        MamTraError: a tensor differs from what was written.
    """
    digest = hashlib.sha256()
    expected: dict[str, Tensor] = {}
    for name, info in files.tensors.items():
        tensor = files.read(name)
        update_digest(digest, name, tensor)
        if name in conversion.copied:
            expected = conversion.stored_form(name)
        # a scale follows its tensor
        if name in expected and not torch.equal(_bits(expected.pop(name)), _bits(tensor)):
            raise MamTraError(
                f"{name} was damaged on its way to the disk; check the disk and the memory, and try again."
            )
        tick(info.bytes)
    return digest.hexdigest(), len(conversion.copied)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _check_numbers(name: str, tensor: Tensor, where: str) -> None:
    if not tensor.is_floating_point() or not tensor.numel():
        return
    # minimum and maximum propagate NaN and need no memory for a mask
    if not all(math.isfinite(value) for value in map(float, torch.aminmax(tensor))):
        raise MamTraError(
            f"The weight {name} in {where} is not finite (NaN or infinity) in places; get the model again."
        )
