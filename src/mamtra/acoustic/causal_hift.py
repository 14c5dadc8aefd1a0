"""The vocoder of CosyVoice 3: HiFT from causal convolutions, with a short look-ahead in its first ones.

Two layers look ahead, the first convolution over the mel and the first one of the F0 predictor; everything else sees earlier
positions only. So a stream computes what one pass computes, after waiting for a few frames. Parameter names follow the release.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mamtra.acoustic.convolution import Conv1d
from mamtra.acoustic.fixed_noise import fixed_uniform
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.masks import hide
from mamtra.acoustic.sine_source import SineSource, held_sines

F0_LOOKAHEAD = 3
F0_REACH = 8
"""Frames before a frame that its F0 depends on: four convolutions of three taps."""


class CausalHiFTConfig(HiFTConfig):
    """Sizes of the vocoder; the defaults are CosyVoice 3's (Fun-CosyVoice3-0.5B)."""

    architecture: Literal["causal"] = "causal"
    conv_pre_look_right: int = Field(4, ge=0, le=64)


class LeftConv1d(Conv1d):
    """A convolution over a position and those before it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation, padding=(kernel - 1) * dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T)."""
        # Padding on both sides and dropping the end costs less than a copy that is padded on the left.
        return super().forward(x)[:, :, : x.shape[2]]


class RightConv1d(Conv1d):
    """A convolution over a position and those after it; arguments as in `LeftConv1d`."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T)."""
        return super().forward(x)[:, :, self.padding[0] :]


class RepeatConv1d(LeftConv1d):
    """Nearest-neighbour upsampling followed by a causal convolution; other arguments as in `LeftConv1d`.

    Args:
        rate: upsampling factor.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, rate: int) -> None:
        super().__init__(inputs, outputs, kernel)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, rate*T)."""
        return super().forward(x.transpose(1, 2).repeat_interleave(self.rate, dim=1).transpose(1, 2))


class DownConv1d(Conv1d):
    """A strided convolution that sees rate - 1 positions before each stride, the stride, and one position after it.

    Args:
        inputs: input channels.
        outputs: output channels.
        rate: stride; the kernel is twice as long.
    """

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__(inputs, outputs, 2 * rate, rate, padding=rate - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, rate*T + 1) to (B, outputs, T)."""
        return super().forward(x)[:, :, : (x.shape[2] - 1) // self.stride[0]]


class CausalF0Predictor(nn.Module):
    """F0 of each mel frame from the frames before it and three after it; unvoiced frames come out near zero.

    It computes in float64: what a rounding error changes in F0 the phase of the sines adds up over all frames that follow.
    """

    def __init__(self, mels: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [weight_norm(RightConv1d(mels, channels, F0_LOOKAHEAD + 1)), nn.ELU()]
        for _ in range(4):
            layers += [weight_norm(LeftConv1d(channels, channels, 3)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map mel (B, mels, T) to F0 in Hz (B, T), float32; where `mask` (B, 1, T) is False, F0 is 0."""
        # Apple's GPUs have no float64.
        device = "cpu" if mel.device.type == "mps" else mel.device
        with torch.autocast(mel.device.type, enabled=False):
            hidden = hide(mel, mask).to(device, torch.float64)
            for layer in self.condnet[::2]:
                reach = layer.kernel_size[0] - 1
                hidden = F.pad(hidden, (0, reach) if isinstance(layer, RightConv1d) else (reach, 0))
                hidden = F.elu(F.conv1d(hidden, _double(layer.weight, device), _double(layer.bias, device)))
            weight, bias = (_double(value, device) for value in (self.classifier.weight, self.classifier.bias))
            f0 = F.linear(hidden.transpose(1, 2), weight, bias).squeeze(-1).abs().to(mel.device, torch.float32)
            return f0 if mask is None else f0 * mask[:, 0]


def _double(weight: Tensor, device: torch.device | str) -> Tensor:
    return weight.to(device, torch.float64)


class HeldSineSource(SineSource):
    """The excitation of CosyVoice 3: sines that are held over each frame, and uniform noise in [0, 1)."""

    sines = staticmethod(held_sines)


class CausalHiFT(HiFT):
    """The vocoder, with the interface of `HiFT`."""

    convolution = LeftConv1d
    source_class = HeldSineSource
    config: CausalHiFTConfig

    def first_convolution(self) -> nn.Module:
        """See `HiFT.first_convolution`."""
        config = self.config
        return RightConv1d(config.in_channels, config.base_channels, config.conv_pre_look_right + 1)

    def upsampling(self, inputs: int, outputs: int, kernel: int, rate: int) -> nn.Module:
        """See `HiFT.upsampling`."""
        return RepeatConv1d(inputs, outputs, kernel, rate)

    def downsampling(self, inputs: int, outputs: int, rate: int) -> nn.Module:
        """See `HiFT.downsampling`."""
        return DownConv1d(inputs, outputs, rate)

    def f0(self) -> nn.Module:
        """See `HiFT.f0`."""
        return CausalF0Predictor(self.config.in_channels, self.config.f0_channels)

    def receptive_field(self) -> tuple[int, int]:
        """See `HiFT.receptive_field`; 29 and 5 frames with CosyVoice 3's kernels.

        The centred STFTs and the strided convolutions of the excitation reach into the next frame, so one more is looked ahead at.
        """
        config = self.config

        def block(kernel: int, dilations: tuple[int, ...]) -> int:
            return sum((kernel - 1) * (dilation + 1) for dilation in dilations)

        kinds = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        widest = max(block(*kind) for kind in kinds)
        sources = zip(config.source_resblock_kernel_sizes, config.source_resblock_dilation_sizes, strict=True)
        scale, reach, of_source = 1, 0.0, 0.0
        for rate, kernel, source in zip(config.upsample_rates, config.upsample_kernel_sizes, sources, strict=True):
            scale *= rate
            reach += (kernel - 1 + rate) / scale
            # Of the excitation a position sees one stride more, before which its STFT frames see half of their length.
            of_source = max(of_source, (block(*source) + 2) / scale - reach)
            reach += widest / scale
        edge = (7 + 2 * config.istft_n_fft / config.istft_hop) / scale
        before = math.ceil(max(reach, reach + of_source) + edge)
        return max(before, F0_REACH), max(config.conv_pre_look_right, F0_LOOKAHEAD) + 1

    def noise(self, generator: torch.Generator) -> Callable[[int], Tensor]:
        """The noise of an utterance: a function that returns the next n samples (1, n, harmonics) on the CPU.

        It is always the same (`fixed_uniform`), whatever the state of `generator`.
        """
        given, harmonics = 0, self.m_source.harmonics

        def following(count: int) -> Tensor:
            nonlocal given
            given += count
            return fixed_uniform(given, harmonics)[None, given - count :]

        return following

    def source(
        self,
        f0: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        phase: Tensor | None = None,
    ) -> Tensor:
        """See `HiFT.source`; in inference `noise` is the beginning of `fixed_uniform` by default."""
        if noise is None and not self.training:
            noise = fixed_uniform(f0.shape[1] * self.config.hop, self.m_source.harmonics)[None].to(f0.device)
        return super().source(f0, noise, generator, phase)
