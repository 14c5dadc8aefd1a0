"""The kernel of Snake against the plain function, in Triton's interpreter where there is no graphics card."""

from __future__ import annotations

import os

import pytest
import torch

from mamtra.acoustic.resblock import Snake

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"


@pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="runs in a process of its own, see test_mixer_triton")
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
