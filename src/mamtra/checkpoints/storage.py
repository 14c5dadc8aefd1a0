"""Compact storage of weights: bfloat16, float16, int8 with one float scale per output row, or 4 bits with a scale per group.

A row-quantised tensor is two entries in a safetensors file: `NAME` (int8) and `NAME.scale` (float32, one per row of the
first dimension). With q = round(w / s) and s = max|row| / 127 the error of a weight is at most s / 2.

A tensor of 4 bits is three entries: `NAME` (uint8), `NAME.scale` (float16) and `NAME.shape` (int64, the shape of the tensor), see
`mamtra.checkpoints.four_bits`. Parts that are unpacked when they are loaded can be stored so, a language model cannot.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mamtra.checkpoints.four_bits import has_scales, pack_groups, unpack_groups
from mamtra.checkpoints.parts import BESIDE
from mamtra.errors import MamTraError

LM_STORAGES = ("float32", "bfloat16", "float16", "int8")
STORAGES = (*LM_STORAGES, "int4")
SCALE, SHAPE = BESIDE
SMALL = 1024
SHORT_ROW = 32


def choose_storage(tensor: torch.Tensor, storage: str) -> str:
    """How a tensor is stored when a model is saved as `storage`.

    Matrices and convolution kernels of more than `SMALL` elements follow `storage` (with rows shorter than `SHORT_ROW`: of more
    than 4 * `SMALL` elements). Vectors (biases, norms, decay rates) and small matrices are sensitive and few, and stay float32.
    Integers keep their type ("as is").
    """
    if storage not in STORAGES:
        raise MamTraError(f"Storage {storage!r} is unknown; choose one of {', '.join(STORAGES)}.")
    if not tensor.is_floating_point():
        return "as is"
    if tensor.dim() < 2:
        return "float32"
    return storage if tensor.numel() > (SMALL if tensor[0].numel() >= SHORT_ROW else 4 * SMALL) else "float32"


def check_lm_storage(storage: str) -> None:
    """Refuse what a language model, whose rows are multiplied as they are stored, cannot be stored as.

    Raises:
        MamTraError: see above.
    """
    if storage not in LM_STORAGES:
        raise MamTraError(
            f"Storage {storage!r} is unknown for a language model; choose one of {', '.join(LM_STORAGES)}."
        )


def quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round to int8 row by row.

    Args:
        weight: (rows, ...) float.

    Returns:
        int8 values (rows, ...) in [-127, 127] and float32 scales (rows,). A row of zeros has scale 1.
    """
    flat = weight.detach().float().flatten(1)
    scale = flat.abs().amax(dim=1) / 127.0
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    values = torch.round(flat / scale[:, None]).clamp_(-127, 127).to(torch.int8)
    return values.view(weight.shape), scale


def dequantise_rows(values: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Inverse of `quantise_rows`: (rows, ...) of `dtype`."""
    return (values.float() * scale.float().view(-1, *[1] * (values.dim() - 1))).to(dtype)


def pack(tensors: Mapping[str, torch.Tensor], storage: str) -> dict[str, torch.Tensor]:
    """Tensors as they are written to a file. See `choose_storage` for which tensor gets which type; one that 4 bits with scales in
    float16 cannot hold is stored as int8 instead.

    Raises:
        MamTraError: unknown `storage`, or a weight that is NaN or infinite.
    """
    packed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        kind = choose_storage(tensor, storage)
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise MamTraError(f"The weight {name} is not finite (NaN or infinity) in places; it was not saved.")
        if kind == "int4" and not has_scales(tensor.float().numpy()):
            kind = "int8"
        if kind == "int4":
            entries = map(torch.from_numpy, pack_groups(tensor.float().numpy()))
            packed[name], packed[name + SCALE] = entries
            packed[name + SHAPE] = torch.tensor(tensor.shape)
        elif kind == "int8":
            packed[name], packed[name + SCALE] = quantise_rows(tensor)
        else:
            packed[name] = tensor if kind == "as is" else tensor.to(getattr(torch, kind))
    # safetensors refuses memory shared between entries, as tied weights have it
    return {name: tensor.contiguous().clone() for name, tensor in packed.items()}


def unpack(stored: Mapping[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Inverse of `pack`: every floating-point or quantised tensor as `dtype`, integers as they are."""
    tensors: dict[str, torch.Tensor] = {}
    for name, beside in group_entries({name: tensor.dtype for name, tensor in stored.items()}).items():
        tensor, *others = (stored[each] for each in (name, *beside))
        if len(others) == 2:
            numbers = unpack_groups(name, *(each.numpy() for each in (tensor, *others)))
            tensors[name] = torch.from_numpy(numbers).to(dtype)
        elif others:
            tensors[name] = dequantise_rows(tensor, *others, dtype)
        else:
            tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return tensors


def group_entries(kinds: Mapping[str, torch.dtype]) -> dict[str, tuple[str, ...]]:
    """For each tensor of a file with entries of these types the entries that belong to it."""
    grouped: dict[str, tuple[str, ...]] = {}
    for name, kind in kinds.items():
        beside = {torch.int8: (name + SCALE,), torch.uint8: (name + SCALE, name + SHAPE)}.get(kind, ())
        grouped[name] = beside if all(each in kinds for each in beside) else ()
    belonging = {each for beside in grouped.values() for each in beside}
    return {name: beside for name, beside in grouped.items() if name not in belonging}
