"""The kernel of the vocoder's convolutions against PyTorch's, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mamtra.ops.wave_conv import WaveConv
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")
pytestmark = kernels_run


def compare(conv: WaveConv, x: torch.Tensor, **options) -> None:
    from mamtra.ops.wave_conv_triton import wave_conv

    given = {"residual": None, "alpha": None, "slope": None, "mask": None, "keep": True, "dtype": x.dtype, **options}
    found, wanted = wave_conv(conv, x, **given), conv.plain(x, **given)
    bound = 1e-4 if x.dtype == torch.float32 else 4e-3
    for mine, plain in zip(found, wanted, strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            assert mine.shape == plain.shape and mine.dtype == plain.dtype
            torch.testing.assert_close(mine, plain, atol=bound, rtol=bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("end", ["snake", "leaky", "sum"])
def test_layers_side_by_side(dtype, end):
    """Kernels and dilations that differ, edges of an utterance, channels that fill no block, a residual that all share."""
    torch.manual_seed(0)
    sizes = [(3, 1), (7, 3), (5, 5)]
    layers = [nn.Conv1d(24, 24, k, dilation=d, padding=(k - 1) * d // 2) for k, d in sizes]
    conv = WaveConv([layer.to(DEVICE) for layer in layers], dtype)
    x, residual = torch.randn(3, 2, 45, 24), torch.randn(1, 2, 45, 24)
    options = {
        "snake": {"alpha": torch.rand(3, 24) + 0.2, "mask": torch.rand(2, 45) > 0.3, "keep": False},
        "leaky": {"slope": 0.1, "residual": residual.to(dtype)},
        "sum": {"residual": torch.randn(3, 2, 45, 24).to(dtype)},
    }[end]
    moved = {name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in options.items()}
    compare(conv, x.to(DEVICE, dtype), **moved)


def test_windows_that_are_apart():
    """The convolution of the excitation's spectrum, whose channels were filled up."""
    conv = WaveConv([nn.Conv1d(18, 40, 6, 3, padding=1).to(DEVICE)], torch.float32)
    x = torch.randn(1, 2, 31, 18)
    compare(conv, nn.functional.pad(x, (0, 14)).to(DEVICE))


@pytest.mark.parametrize(("kernel", "rate"), [(16, 8), (11, 5), (7, 3), (4, 2)])
def test_a_transposed_convolution(kernel, rate):
    layer = nn.ConvTranspose1d(20, 6, kernel, rate, padding=(kernel - rate) // 2)
    x = torch.randn(1, 2, 9, 20)
    with torch.no_grad():
        wanted = layer(x[0].transpose(1, 2)).transpose(1, 2)
    conv = WaveConv(layer.to(DEVICE), torch.float32)
    compare(conv, x.to(DEVICE))
    found = conv(x.to(DEVICE))[0].view(wanted.shape)
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-5, rtol=1e-5)


def test_what_float16_cannot_hold():
    """Too large a sum is the largest number; what is not a number stays so, for its row alone is to fail."""
    layer = nn.Conv1d(16, 16, 1)
    nn.init.constant_(layer.weight, 1000.0)
    conv, x = WaveConv([layer.to(DEVICE)], torch.float16), torch.full((1, 2, 4, 16), 60.0, device=DEVICE).half()
    x[0, 1, 2, 0] = float("nan")
    from mamtra.ops.wave_conv_triton import wave_conv

    for total, act in (
        wave_conv(conv, x, None, None, 0.1, None, True, x.dtype),
        conv.plain(x, None, None, 0.1, None, True),
    ):
        assert (total[0, 0] == 65504).all() and total[0, 1, 2].isnan().all() and act[0, 1, 2].isnan().all()
        assert act[0].isfinite().sum() == 7 * 16
