"""Which backend operations use."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch


@lru_cache
def has_triton() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def has_kernels(device: torch.device) -> bool:
    """Whether Triton kernels run on a device; a GPU without Triton computes with PyTorch's."""
    return device.type == "cuda" and has_triton()


def use_triton(device: torch.device, head_dim: int = 16) -> bool:
    """Whether the Triton kernels run: on a GPU with Triton, or in its interpreter, for heads of a size that they can cut up."""
    fits = head_dim >= 16 and head_dim.bit_count() == 1
    return fits and (has_kernels(device) or (has_triton() and os.environ.get("TRITON_INTERPRET") == "1"))
