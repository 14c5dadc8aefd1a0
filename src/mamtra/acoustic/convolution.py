"""1-D convolutions that are fast on CPUs too.

oneDNN's 1-D kernels keep time innermost, which is slow for the few channels of a vocoder. The same sums as a 2-D convolution
of height 1 in channels-last memory are up to four times faster (32 channels; less for more). The result is (B, C, T) in shape
but time-major in memory, as the next convolution or Transformer block needs it. Other devices use PyTorch's 1-D kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _tall(x: Tensor) -> Tensor:
    """(B, C, T) to (B, C, 1, T) in channels-last memory, without a copy if it already is."""
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with zero padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T')."""
        if x.device.type != "cpu":
            return super().forward(x)
        if self.kernel_size[0] == 1 and self.stride[0] == 1 and self.groups == 1:
            return F.linear(x.transpose(1, 2), self.weight.squeeze(2), self.bias).transpose(1, 2)
        stride, padding, dilation = (1, self.stride[0]), (0, self.padding[0]), (1, self.dilation[0])
        return F.conv2d(_tall(x), _tall(self.weight), self.bias, stride, padding, dilation, self.groups).squeeze(2)


class WindowConv1d(Conv1d):
    """A `Conv1d` without padding, stride or dilation whose input is time-major in memory, as between Transformer blocks.

    On a GPU, inference computes it (in one group) as one matrix product in at most two kernels; the library's convolution
    transposes its operands before and after, which costs several more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T - kernel + 1)."""
        if x.device.type == "cpu" or torch.is_grad_enabled() or self.groups > 1:
            return super().forward(x)
        return window_product(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)


def window_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution as one matrix product over windows.

    Args:
        x: (B, T + kernel - 1, inputs).
        weight: (outputs, inputs, kernel).
        bias: (outputs,) or None.

    Returns:
        (B, T, outputs).
    """
    return F.linear(x.unfold(1, weight.shape[2], 1).flatten(2), weight.flatten(1), bias)


class ConvTranspose1d(nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with one group and neither output padding nor dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T')."""
        if x.device.type != "cpu":
            return super().forward(x)
        stride, padding = (1, self.stride[0]), (0, self.padding[0])
        return F.conv_transpose2d(_tall(x), _tall(self.weight), self.bias, stride, padding).squeeze(2)
