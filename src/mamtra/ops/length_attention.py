"""Attention of rows of different lengths over all of their positions, without a mask in memory; inference only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import has_kernels


def length_attention(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) -> Tensor:
    """Attend from all positions of a row to those before its length.

    Args:
        q: (B, heads, T, D).
        k: likewise.
        v: likewise.
        lengths: (B,) int64, at least 1.

    Returns:
        (B, heads, T, D), transposed memory of (B, T, heads * D); finite at later positions, where it means nothing.
    """
    width = q.shape[3]
    if has_kernels(q.device) and q.dtype != torch.float32 and width >= 16 and width.bit_count() == 1:
        from mamtra.ops.length_attention_triton import attend

        return attend(q, k, v, lengths)
    seen = torch.arange(q.shape[2], device=q.device) < lengths[:, None]
    return F.scaled_dot_product_attention(q, k, v, seen[:, None, None]).transpose(1, 2).contiguous().transpose(1, 2)
