"""Convolutions of the vocoder over (B, T, C), several side by side, with what stands behind them; inference only.

The residual blocks of a stage differ in kernel size alone, so that their layers are one launch on a GPU. In half precision products
are summed in float32 and rounded where they are stored, which is what TF32 does to operands of float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.ops.backend import has_kernels
from mamtra.ops.bias_act import activate, fitting


class WaveConv:
    """Convolutions of the same channels and stride, each over an input of its own.

    Args:
        layers: centred convolutions, or one `nn.ConvTranspose1d`, which becomes a convolution to all positions of a frame.
        dtype: of the weights and of inputs and results.

    Attributes:
        outputs: channels of a result.
        stride: positions from one window to the next.
        padding: positions before the first input that are read, of each layer.
        taps: kernel sizes.
        dilations: of each layer.
        bias: (G, outputs) float32.
        kernel: (taps of all layers, inputs, outputs), layer by layer.
    """

    def __init__(self, layers: Sequence[nn.Conv1d] | nn.ConvTranspose1d, dtype: torch.dtype) -> None:
        if isinstance(layers, nn.ConvTranspose1d):
            rate = layers.stride[0]
            weight, self.padding = _phases(layers)
            weights, biases, self.stride = [weight], [layers.bias.repeat(rate)], 1
            self.dilations: tuple[int, ...] = (1,)
        else:
            weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
            self.stride, self.padding = layers[0].stride[0], tuple(layer.padding[0] for layer in layers)
            self.dilations = tuple(layer.dilation[0] for layer in layers)
        with torch.inference_mode(False), torch.no_grad():
            self.bias = torch.stack([bias.detach().float() for bias in biases])
            kernels = [weight.detach().permute(2, 1, 0).to(dtype) for weight in weights]
            self.kernel = torch.cat(kernels).contiguous()
            self.taps = tuple(map(len, kernels))
            firsts = [sum(self.taps[:number]) for number in range(len(kernels))]
            shape = zip(self.taps, self.dilations, self.padding, firsts, strict=True)
            self.shape = torch.tensor(list(shape), dtype=torch.int32, device=self.kernel.device)
        self.outputs = self.kernel.shape[2]

    def __call__(
        self,
        x: Tensor,
        *,
        residual: Tensor | None = None,
        alpha: Tensor | None = None,
        slope: float | None = None,
        mask: Tensor | None = None,
        keep: bool = True,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Convolve.

        Args:
            x: (G, B, T, inputs), contiguous; inputs may be more than those of the layers.
            residual: (G or 1, B, T', outputs) to be added, contiguous.
            alpha: (G, outputs) frequencies of Snake.
            slope: of a leaky ReLU, in place of Snake.
            mask: (B, T') bool; where it is False the activation is zero.
            keep: whether the sum is returned.
            dtype: of the sum; that of x by default.

        Returns:
            The sum (G, B, T', outputs) and its activation, each None where it is not asked for.
        """
        if has_kernels(x.device) and x.dtype != torch.float32:
            from mamtra.ops.wave_conv_triton import wave_conv

            return wave_conv(self, x, residual, alpha, slope, mask, keep, dtype or x.dtype)
        return self.plain(x, residual, alpha, slope, mask, keep, dtype)

    def plain(
        self,
        x: Tensor,
        residual: Tensor | None,
        alpha: Tensor | None,
        slope: float | None,
        mask: Tensor | None,
        keep: bool,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """See `__call__`, by PyTorch's convolutions in float32."""
        made = []
        for each, kernel, dilation, padding in zip(
            x.float(), self.kernel.float().split(self.taps), self.dilations, self.padding, strict=True
        ):
            wave = each[..., : kernel.shape[1]].transpose(1, 2)
            made.append(F.conv1d(wave, kernel.permute(2, 1, 0), None, self.stride, padding, dilation).transpose(1, 2))
        total = torch.stack(made) + self.bias[:, None, None]
        total = total if residual is None else total + residual.float()
        act = activate(total, None if alpha is None else alpha[:, None, None], slope, mask)
        return fitting(total, dtype or x.dtype) if keep else None, None if act is None else fitting(act, x.dtype)


def _phases(layer: nn.ConvTranspose1d) -> tuple[Tensor, tuple[int]]:
    """Weight (rate * outputs, inputs, taps) and padding of the convolution that makes all positions of a frame at once."""
    size, rate, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    first, last = -((size - 1 - padding) // rate), (rate - 1 + padding) // rate
    with torch.no_grad():
        made = layer.weight.new_zeros(rate, layer.out_channels, layer.in_channels, last - first + 1)
        for phase in range(rate):
            for frame in range(first, last + 1):
                tap = phase + padding - frame * rate
                if 0 <= tap < size:
                    made[phase, :, :, frame - first] = layer.weight[:, :, tap].T
    return made.flatten(0, 1), (-first,)
