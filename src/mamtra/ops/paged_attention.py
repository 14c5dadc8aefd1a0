"""Attention of a hop over pages of earlier keys and values that several streams may share.

The positions of a hop see each other and the pages that their row names: some in front, which other rows may name too, and a
window. The order of keys does not matter, so pages lie anywhere, and the new ones replace a page that falls out of the window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import has_kernels
from mamtra.ops.places import Places


def paged_attention(q: Tensor, k: Tensor, v: Tensor, pages: Tensor, places: Places) -> Tensor:
    """Attend, and write the new keys and values to their pages.

    Args:
        q: (branches * B, heads, T, D), branch by branch.
        k: new keys, likewise.
        v: new values, likewise.
        pages: (N, branches, 2, T, heads * D) keys and values, written in place. Those that a row does not see may hold anything on
            a GPU, and finite numbers elsewhere.
        places: of the rows. A page that one row writes is read by no other.

    Returns:
        (branches * B, heads, T, D), transposed memory of (branches * B, T, heads * D).
    """
    if has_kernels(q.device):
        from mamtra.ops.paged_attention_triton import attend

        return attend(q, k, v, pages, places)
    return paged_attention_naive(q, k, v, pages, places)


def paged_attention_naive(q: Tensor, k: Tensor, v: Tensor, pages: Tensor, places: Places) -> Tensor:
    """`paged_attention` by gathering the pages."""
    branches, heads, size, width = pages.shape[1], q.shape[1], q.shape[2], pages.shape[-1]
    seen = pages[places.table()].permute(3, 2, 0, 1, 4, 5).flatten(3, 4).flatten(1, 2)
    both = seen.unflatten(-1, (heads, -1)).transpose(2, 3)
    mask = places.visible(size).repeat(branches, 1)[:, None, None]
    keys, values = (torch.cat(pair, dim=2) for pair in zip(both, (k, v), strict=True))
    out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
    new = torch.stack([k, v]).transpose(2, 3).reshape(2, branches, -1, size, width)
    pages[places.target] = new.permute(2, 1, 0, 3, 4)
    return out.transpose(1, 2).contiguous().transpose(1, 2)
