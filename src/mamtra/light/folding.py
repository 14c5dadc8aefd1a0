"""Operators over constants, computed when a graph is written; ONNX Runtime would take more time and memory for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mamtra.light import protobuf

_DTYPES = {protobuf.FLOAT: np.float32, protobuf.INT64: np.int64}


def _reshape(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return x.reshape([x.shape[place] if size == 0 else int(size) for place, size in enumerate(shape)])


def _slice(
    x: np.ndarray, first: np.ndarray, last: np.ndarray, axis: np.ndarray, step: Sequence[int] = (1,)
) -> np.ndarray:
    return x[(slice(None),) * int(axis[0]) + (slice(int(first[0]), int(last[0]), int(step[0])),)]


FOLDED: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Cast": lambda x, to: x.astype(_DTYPES[to]),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Cos": np.cos,
    "Exp": np.exp,
    "Mod": np.mod,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshape,
    "Sin": np.sin,
    "Slice": _slice,
    "Transpose": lambda x, perm: x.transpose(perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes.tolist())),
}
"""By their names in ONNX."""
