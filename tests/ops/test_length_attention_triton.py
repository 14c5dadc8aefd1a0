"""Attention over lengths against PyTorch's with a mask, in Triton's interpreter where there is no GPU."""

import pytest
import torch
import torch.nn.functional as F

from mamtra.ops.length_attention import length_attention
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")
pytestmark = kernels_run


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_of_all_lengths(dtype):
    """Queries, keys and values as they come out of one product; what lies beyond a length may be anything."""
    from mamtra.ops.length_attention_triton import attend

    lengths = torch.tensor([150, 1, 64, 97])
    joint = torch.randn(4, 150, 3, 2, 16, generator=torch.Generator().manual_seed(0))
    wanted = F.scaled_dot_product_attention(
        *joint.to(dtype).float().permute(2, 0, 3, 1, 4), (torch.arange(150) < lengths[:, None])[:, None, None]
    )
    for row, length in enumerate(lengths):
        joint[row, length:] = float("nan")
    q, k, v = joint.to(DEVICE, dtype).permute(2, 0, 3, 1, 4)
    found = attend(q, k, v, lengths.to(DEVICE)).cpu().float()
    plain = length_attention(*(value.nan_to_num().float().cpu() for value in (q, k, v)), lengths)
    assert found[:, :, 128:][lengths < 128].eq(0).all()
    for row, length in enumerate(lengths):
        bound = 1e-5 if dtype == torch.float32 else 4e-3
        torch.testing.assert_close(found[row, :, :length], wanted[row, :, :length], atol=bound, rtol=bound)
        torch.testing.assert_close(plain[row, :, :length], wanted[row, :, :length], atol=bound, rtol=bound)
