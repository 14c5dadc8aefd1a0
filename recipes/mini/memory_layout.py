"""Convolutions with channels innermost in memory, as tensor cores want them; with few channels that is several times faster."""

from __future__ import annotations

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelsLast(nn.Conv2d):
    """A convolution whose input and output have their channels innermost in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        return super().forward(x.contiguous(memory_format=torch.channels_last))


def _tall(x: Tensor) -> Tensor:
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _forward(self: nn.Conv1d, x: Tensor) -> Tensor:
    stride, padding, dilation = (1, self.stride[0]), (0, self.padding[0]), (1, self.dilation[0])
    return F.conv2d(_tall(x), _tall(self.weight), self.bias, stride, padding, dilation).squeeze(2)


def channels_last(module: nn.Module) -> None:
    """Compute the 1-D convolutions of `module` so from now on, on every device."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d):
            part.forward = MethodType(_forward, part)


def _products(self: nn.Conv1d, x: Tensor) -> Tensor:
    windows = F.pad(x, self.padding * 2).unfold(2, self.kernel_size[0], 1)
    return (windows * self.weight).sum(3) + self.bias[:, None]


def depthwise_products(module: nn.Module) -> None:
    """Compute the convolutions of single channels in `module` as products from now on: kernels for them have slow gradients."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d) and part.groups == part.in_channels:
            part.forward = MethodType(_products, part)
