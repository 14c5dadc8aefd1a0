"""The kernel of Snake against the plain function, in Triton's interpreter where there is no GPU."""

import pytest
import torch

from mamtra.acoustic.resblock import Snake
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")


@kernels_run
@pytest.mark.parametrize("masked", [False, True])
@torch.inference_mode()
def test_the_kernel_is_the_plain_function(masked):
    from mamtra.ops.snake_triton import snake

    layer = Snake(6)
    layer.alpha.copy_(torch.linspace(0.1, 3, 6))
    x = torch.randn(2, 1500, 6).transpose(1, 2)
    mask = torch.rand(2, 1, 1500) > 0.3 if masked else None
    moved = None if mask is None else mask.to(DEVICE)
    found = snake(x.to(DEVICE), layer.alpha.to(DEVICE), moved)
    torch.testing.assert_close(found.cpu(), layer(x, mask), atol=1e-5, rtol=1e-5)
    assert found.is_contiguous()
