"""Attention of the flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention that mixed precision leaves in float32.

    In bfloat16 the gradient of a softmax that has nearly made its choice consists of rounding errors times keys or queries. These
    let queries and keys grow, which makes the errors larger: a head ends as a choice of one key, and its noise drowns all other
    gradients when their norm is clipped.

    Args:
        q: (B, heads, T, D).
        k: (B, heads, keys, D).
        v: (B, heads, keys, D).
        mask: see `torch.nn.functional.scaled_dot_product_attention`.
        dropout: of the weights.

    Returns:
        (B, heads, T, D), of the type of `v`.
    """
    kind = q.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    with torch.autocast(kind, enabled=False):
        mask = mask.float() if mask is not None and mask.is_floating_point() else mask
        q, k, exact = q.float(), k.float(), v.float()
        return F.scaled_dot_product_attention(q, k, exact, attn_mask=mask, dropout_p=dropout).to(v.dtype)
