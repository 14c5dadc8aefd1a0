"""Which backend the operations of a decode step use."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch


@lru_cache
def has_triton() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def use_triton(device: torch.device, head_dim: int = 16) -> bool:
    """Whether the Triton kernels run: on a GPU with Triton, or in its interpreter, for heads of a size that they can cut up."""
    fits = head_dim >= 16 and head_dim.bit_count() == 1
    return fits and has_triton() and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")
