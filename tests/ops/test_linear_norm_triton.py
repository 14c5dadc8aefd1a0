"""The kernel of products with a LayerNorm behind them against the plain functions, in Triton's interpreter where there is no
graphics card."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from mamtra.ops.linear_act import linear_act
from mamtra.ops.linear_norm import causal_conv, linear_add_norm

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="runs in a process of its own, see test_mixer_triton"
)
BOUND = {torch.float32: 2e-5, torch.float16: 1e-2}


def norm(width: int) -> nn.LayerNorm:
    made = nn.LayerNorm(width)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def run(function, dtype, *tensors, layer=None, **options):
    """The kernel over tensors of a type, which are on the device, and the plain function over the same numbers in float32."""
    given = [None if value is None else value.to(DEVICE, dtype) for value in tensors]
    layer = None if layer is None else layer.to(DEVICE, dtype)
    from mamtra.ops.linear_norm_triton import linear_norm

    found = linear_norm(*given, layer, **{key: value.to(DEVICE, dtype) if isinstance(value, torch.Tensor) else value
                                          for key, value in options.items()})  # fmt: skip
    exact = [None if value is None else value.cpu().float() for value in given]
    return found, exact, None if layer is None else layer.cpu().float()


def close(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(found.cpu().float(), wanted, atol=BOUND[dtype], rtol=BOUND[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("inputs", "width", "rows"), [(40, 24, 5), (64, 32, 33)])
@pytest.mark.parametrize("normed", [True, False])
def test_a_sum_and_its_norm(dtype, inputs, width, rows, normed):
    torch.manual_seed(rows)
    x, weight, bias, beside = (
        torch.randn(2, rows, inputs), torch.randn(width, inputs) / 4, torch.randn(width), torch.randn(2, rows, width)
    )  # fmt: skip
    found, exact, layer = run(
        linear_add_norm, dtype, x, None, weight, bias, beside, layer=norm(width) if normed else None
    )
    total, after = linear_add_norm(exact[0], exact[2], exact[3], exact[4], layer)
    close(found[0], total, dtype)
    assert (found[1] is None) == (after is None)
    if after is not None:
        close(found[1], after, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("behind", ["nothing", "mish", "mish and shift"])
def test_a_causal_convolution(dtype, behind):
    """Rows of 5 and of 19 positions, so that programs hold parts of several; what is before them lies inside a larger memory."""
    for size in (5, 19):
        torch.manual_seed(size)
        x, before, weight, bias = (
            torch.randn(3, size, 40), torch.randn(3, 2, 88)[:, :, 8:48], torch.randn(24, 120) / 4, torch.randn(24)
        )  # fmt: skip
        options = {} if behind == "nothing" else {"mish": True, "shift": torch.randn(24) if "shift" in behind else None}
        layer = norm(24) if options else None
        kept = torch.zeros(3, 2, 88, device=DEVICE, dtype=dtype)
        kept[:, :, 8:48] = before
        found, exact, layer = run(causal_conv, dtype, x, kept[:, :, 8:48], weight, bias, None, layer=layer, **options)
        shift = options.get("shift")
        wanted = causal_conv(*exact[:4], layer, None if shift is None else shift.to(dtype).float())
        close(found[0] if layer is None else found[1], wanted, dtype)
        assert layer is None or found[0] is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("rows", "inputs", "width"), [(5, 40, 24), (33, 64, 130)])
@pytest.mark.parametrize("gelu", [True, False])
def test_a_map_of_few_rows(dtype, rows, inputs, width, gelu):
    from mamtra.ops.linear_act_triton import linear_act as kernel

    torch.manual_seed(rows)
    given = [torch.randn(rows, inputs), torch.randn(width, inputs) / 4, torch.randn(width) if gelu else None]
    given = [None if value is None else value.to(DEVICE, dtype) for value in given]
    wanted = linear_act(*(None if value is None else value.cpu().float() for value in given), gelu=gelu)
    close(kernel(*given, gelu), wanted, dtype)
