"""The kernel between two convolutions against the plain function, in Triton's interpreter where there is no GPU."""

import pytest
import torch

from mamtra.ops.bias_act import bias_act
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")


@kernels_run
@pytest.mark.parametrize(
    "options",
    [
        {"others": 2, "scale": 0.25, "slope": 0.1, "masked": True},
        {"others": 1, "alpha": 3, "masked": True},
        {"alpha": 1, "keep": False},
    ],
    ids=str,
)
def test_the_kernel_is_the_plain_function(options):
    from mamtra.ops.bias_act_triton import bias_act as kernel

    x, *more = torch.randn(3, 2, 90, 6)
    alpha = torch.linspace(0.1, 300, options["alpha"] * 6).view(-1, 6) if "alpha" in options else None
    mask, others = (torch.rand(2, 90) > 0.3) if "masked" in options else None, tuple(more[: options.get("others", 0)])
    scale, slope, keep = options.get("scale", 1.0), options.get("slope"), options.get("keep", True)
    wanted = bias_act(x, others=others, scale=scale, alpha=alpha, slope=slope, mask=mask, keep=keep)
    x, alpha, mask = (None if value is None else value.to(DEVICE) for value in (x, alpha, mask))
    found = kernel(x, tuple(other.to(DEVICE) for other in others), scale, alpha, slope, mask, keep)
    for mine, plain in zip(found, wanted, strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            torch.testing.assert_close(mine.cpu(), plain, atol=2e-5, rtol=1e-5)
