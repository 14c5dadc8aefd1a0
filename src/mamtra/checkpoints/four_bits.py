"""Weights of 4 bits, as numpy arrays, for both runtimes.

A row of a tensor is divided into groups of `GROUP` neighbouring values, each with a scale in float16. A value q in [-7, 7] is
stored as q + 8, two values in a byte, the first one in the low half.
"""

from __future__ import annotations

from math import prod

import numpy as np

from mamtra.errors import MamTraError

GROUP = 32
_LARGEST, _OFFSET = 7, 8
_FLOAT16 = np.finfo(np.float16)


def has_scales(weight: np.ndarray) -> bool:
    """Whether scales in float16 do for a tensor: its largest value must not be beyond them, nor so small that they are coarse."""
    largest = np.abs(weight).max() / _LARGEST
    return bool(largest == 0 or _FLOAT16.tiny <= largest <= _FLOAT16.max)


def pack_groups(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round to 4 bits, with the scale that the largest value of each group asks for.

    Args:
        weight: (rows, ...) float32 that `has_scales`; n values a row.

    Returns:
        uint8 values (rows, ceil(n / 2)) and float16 scales (rows, ceil(n / GROUP)). A group of zeros has scale 1. The error of a
        weight is at most half a scale.
    """
    rows = weight.reshape(len(weight), -1)
    count = rows.shape[1]
    groups = np.pad(rows, ((0, 0), (0, -count % GROUP))).reshape(len(rows), -1, GROUP)
    scales = _round_up(np.abs(groups).max(axis=-1) / np.float32(_LARGEST))
    values = (np.rint(groups / scales.astype(np.float32)[..., None]) + _OFFSET).astype(np.uint8)
    values = values.reshape(len(rows), -1)
    return (values[:, ::2] | values[:, 1::2] << 4)[:, : -(-count // 2)], scales


def unpack_groups(name: str, values: np.ndarray, scales: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Inverse of `pack_groups`, float32.

    Args:
        name: of the tensor, for the message.
        values: see there.
        scales: see there.
        shape: of the tensor.

    Raises:
        MamTraError: they do not fit each other.
    """
    rows, *inner = shape.tolist()
    count = prod(inner)
    if values.shape != (rows, -(-count // 2)) or scales.shape != (rows, -(-count // GROUP)):
        raise MamTraError(f"The weight {name} is damaged: its size is not that of its shape; get the model again.")
    numbers = np.stack([values & 15, values >> 4], axis=-1).reshape(rows, -1)[:, :count].astype(np.float32)
    numbers -= _OFFSET
    numbers *= np.repeat(scales.astype(np.float32), GROUP, axis=1)[:, :count]
    return numbers.reshape(shape.tolist())


def _round_up(scale: np.ndarray) -> np.ndarray:
    """The next float16, with which no value is beyond the largest step; 1 for 0."""
    half = scale.astype(np.float16)
    half = np.where(half < scale, np.nextafter(half, _FLOAT16.max), half)
    return np.where(half == 0, np.float16(1), half)
