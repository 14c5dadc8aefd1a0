"""Residual blocks of the vocoder: weight-normalised convolutions with Snake before them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mamtra.acoustic.convolution import Conv1d
from mamtra.acoustic.masks import hide
from mamtra.ops.backend import has_kernels


def normed(conv: nn.Module, small: bool = True) -> nn.Module:
    """Weight-normalise a convolution, with HiFi-GAN's small initial weights where asked."""
    if small:
        nn.init.normal_(conv.weight, 0.0, 0.01)
    return weight_norm(conv)


class Snake(nn.Module):
    """x + sin^2(a x) / a with one trained frequency a for each channel (Ziyin et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C, T), zero where `mask` (B, 1, T) is False."""
        if has_kernels(x.device) and not torch.is_grad_enabled():
            from mamtra.ops.snake_triton import snake

            return snake(x, self.alpha, mask)
        alpha = self.alpha.to(x.dtype)[:, None]
        scale = (alpha + 1e-9).reciprocal()
        if torch.is_grad_enabled():
            sine = torch.sin(x * alpha)
            return hide(torch.addcmul(x, sine, sine * scale), mask)
        # On a CPU allocating costs more than the sine: all steps in one buffer.
        square = (x * alpha).sin_().square_()
        return hide(torch.addcmul(x, square, scale, out=square), mask)


class ResBlock(nn.Module):
    """Residual pairs of convolutions, the first of each pair dilated, with Snake before both.

    Args:
        channels: number of channels.
        kernel: odd kernel size.
        dilations: one entry for each pair.
        convolution: makes a convolution that keeps the length from inputs, outputs, kernel and dilation.
    """

    def __init__(
        self, channels: int, kernel: int, dilations: tuple[int, ...], convolution: Callable[..., nn.Module]
    ) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Module:
            return normed(convolution(channels, channels, kernel, dilation))

        self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C, T); where `mask` (B, 1, T) is False, inputs do not matter and the result is undefined."""
        for snake1, conv1, snake2, conv2 in zip(
            self.activations1, self.convs1, self.activations2, self.convs2, strict=True
        ):
            x = conv2(snake2(conv1(snake1(x, mask)), mask)).add_(x)
        return x


def centred(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> Conv1d:
    """A convolution of odd kernel that sees as much before a position as after it."""
    return Conv1d(inputs, outputs, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)
