"""CAM++ speaker encoder: filter bank to a 192-dimensional voice embedding (Wang et al. 2023, arXiv:2303.00332).

A small 2-D residual head, then densely connected time-delay layers whose channels are gated by the context: the mean over
the utterance and over segments of 100 steps. Parameter names follow the published network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from mamtra.encoders.framing import SEGMENT
from mamtra.runtime.strict_models import ClosedModel, Size


class CAMPPlusConfig(ClosedModel):
    """Sizes of the speaker encoder; the defaults are the published ones.

    `feat_dim` is a multiple of 8, since the head halves the frequency axis three times with two layers of blocks.
    """

    feat_dim: Size = 80
    embedding_size: Size = 192
    head_channels: Size = 32
    head_blocks: tuple[Size, ...] = (2, 2)
    init_channels: Size = 128
    growth_rate: Size = 32
    bottleneck: Size = 4
    block_layers: tuple[Size, ...] = (12, 24, 16)
    block_kernels: tuple[Size, ...] = (3, 3, 3)
    block_dilations: tuple[Size, ...] = (1, 2, 2)

    @model_validator(mode="after")
    def _consistent(self) -> CAMPPlusConfig:
        if not len(self.block_layers) == len(self.block_kernels) == len(self.block_dilations):
            raise ValueError("block_layers, block_kernels and block_dilations need the same number of entries")
        if self.feat_dim % 2 ** (len(self.head_blocks) + 1):
            raise ValueError(f"feat_dim must be a multiple of {2 ** (len(self.head_blocks) + 1)}")
        return self


class ResidualBlock2d(nn.Module):
    """Two 3x3 convolutions with a shortcut; the stride acts on frequency only.

    Args:
        channels: input and output channels.
        stride: of the frequency axis.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, F, T) to (B, C, F / stride, T)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ConvolutionHead(nn.Module):
    """2-D front end that turns the filter bank into channels.

    Args:
        channels: its width.
        blocks: residual blocks of each layer; every layer and the last convolution halve the frequency axis.
    """

    def __init__(self, channels: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.depth = len(blocks)
        for layer, count in enumerate(blocks, start=1):
            self.add_module(
                f"layer{layer}", nn.Sequential(*(ResidualBlock2d(channels, 2 if i == 0 else 1) for i in range(count)))
            )
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, fbank: Tensor) -> Tensor:
        """Map (B, F, T) to (B, channels * F / 2^(layers + 1), T)."""
        x = F.relu(self.bn1(self.conv1(fbank[:, None])))
        for layer in range(1, self.depth + 1):
            x = getattr(self, f"layer{layer}")(x)
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class NormRelu(nn.Module):
    """Batch normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        return F.relu(self.batchnorm(x))


def segment_means(x: Tensor, size: int) -> Tensor:
    """Replace every step of (B, C, T) by the mean of its segment of `size` steps (the last one may be shorter)."""
    means = F.avg_pool1d(x, size, stride=size, ceil_mode=True)
    return means.repeat_interleave(size, dim=2)[:, :, : x.shape[2]]


class ContextMask(nn.Module):
    """Convolution whose output channels are gated by utterance and segment context.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd kernel size.
        dilation: its dilation.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = (kernel - 1) // 2 * dilation
        self.linear_local = nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T)."""
        context = x.mean(-1, keepdim=True) + segment_means(x, SEGMENT)
        return self.linear_local(x) * torch.sigmoid(self.linear2(F.relu(self.linear1(context))))


class DenseLayer(nn.Module):
    """One densely connected time-delay layer.

    Args:
        inputs: input channels.
        outputs: channels that it adds.
        hidden: bottleneck channels.
        kernel: odd kernel size.
        dilation: its dilation.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = NormRelu(inputs)
        self.linear1 = nn.Conv1d(inputs, hidden, 1, bias=False)
        self.nonlinear2 = NormRelu(hidden)
        self.cam_layer = ContextMask(hidden, outputs, kernel, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to the new channels (B, outputs, T)."""
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class DenseBlock(nn.Module):
    """Dense layers, each seeing the input and the outputs of all layers before it.

    Args:
        layers: number of layers.
        inputs: input channels.
        growth: channels that each layer adds.
        hidden: bottleneck channels.
        kernel: odd kernel size.
        dilation: its dilation.
    """

    def __init__(self, layers: int, inputs: int, growth: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        for layer in range(layers):
            self.add_module(f"tdnnd{layer + 1}", DenseLayer(inputs + layer * growth, growth, hidden, kernel, dilation))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, inputs + layers * growth, T)."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class TimeDelay(nn.Module):
    """Entry convolution of stride 2 in time, then normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 5, stride=2, padding=2, bias=False)
        self.nonlinear = NormRelu(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, ceil(T / 2))."""
        return self.nonlinear(self.linear(x))


class Transit(nn.Module):
    """Normalisation, ReLU and a 1x1 convolution that halves the channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.nonlinear = NormRelu(inputs)
        self.linear = nn.Conv1d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, inputs / 2, T)."""
        return self.linear(self.nonlinear(x))


class EmbeddingLayer(nn.Module):
    """Statistics pooling over time, projection, normalisation without scale and shift."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(2 * inputs, outputs, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(outputs, affine=False)})

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T), T > 1, to (B, outputs)."""
        statistics = torch.cat([x.mean(-1), x.std(-1)], dim=1)
        return self.nonlinear["batchnorm"](self.linear(statistics[:, :, None]).squeeze(-1))


class CAMPPlus(nn.Module):
    """The speaker encoder; use it in evaluation mode: batch statistics of one voice are meaningless."""

    def __init__(self, config: CAMPPlusConfig) -> None:
        super().__init__()
        self.config = config
        self.head = ConvolutionHead(config.head_channels, config.head_blocks)
        channels = config.init_channels
        height = config.feat_dim >> (len(config.head_blocks) + 1)
        self.xvector = nn.Sequential()
        self.xvector.add_module("tdnn", TimeDelay(config.head_channels * height, channels))
        kinds = zip(config.block_layers, config.block_kernels, config.block_dilations, strict=True)
        for index, (layers, kernel, dilation) in enumerate(kinds, start=1):
            hidden = config.bottleneck * config.growth_rate
            block = DenseBlock(layers, channels, config.growth_rate, hidden, kernel, dilation)
            channels += layers * config.growth_rate
            self.xvector.add_module(f"block{index}", block)
            self.xvector.add_module(f"transit{index}", Transit(channels))
            channels //= 2
        self.xvector.add_module("out_nonlinear", NormRelu(channels))
        self.xvector.add_module("dense", EmbeddingLayer(channels, config.embedding_size))

    def forward(self, fbank: Tensor) -> Tensor:
        """Embed voices.

        Args:
            fbank: (B, frames, feat_dim) Kaldi filter bank minus its mean over frames; at least 3 frames.

        Returns:
            (B, embedding_size), not normalised.
        """
        return self.xvector(self.head(fbank.transpose(1, 2)))
