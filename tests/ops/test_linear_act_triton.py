"""The kernel of linear maps of few rows against PyTorch's, in Triton's interpreter where there is no GPU."""

import pytest
import torch

from mamtra.ops.linear_act import linear_act
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")
pytestmark = kernels_run


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("rows", "inputs", "width"), [(5, 40, 24), (33, 64, 530), (300, 144, 32)])
@pytest.mark.parametrize("gelu", [True, False])
def test_a_map_of_few_rows(dtype, rows, inputs, width, gelu):
    from mamtra.ops.linear_act_triton import linear_act as kernel

    torch.manual_seed(rows)
    given = [torch.randn(rows, inputs), torch.randn(width, inputs) / 4, torch.randn(width) if gelu else None]
    given = [None if value is None else value.to(DEVICE, dtype) for value in given]
    wanted = linear_act(*(None if value is None else value.cpu().float() for value in given), gelu=gelu)
    bound = 2e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(kernel(*given, gelu).cpu().float(), wanted, atol=bound, rtol=bound)
