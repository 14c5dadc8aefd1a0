"""The layers of the vocoder in the hops of many streams: channels last in memory, and one kernel between two convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.resblock import ResBlock
from mamtra.ops.bias_act import bias_act


class HopHiFT:
    """The stages of a vocoder over (B, T, C), in inference.

    Args:
        vocoder: in evaluation mode, at its place, its weight norms folded.
    """

    def __init__(self, vocoder: HiFT) -> None:
        self._net, self._config = vocoder, vocoder.config
        kinds = (nn.Conv1d, nn.ConvTranspose1d)
        layers = [module for module in vocoder.modules() if isinstance(module, kinds)]
        with torch.inference_mode(False):
            self._weights = {
                layer: layer.weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
                for layer in layers
            }

    def begin(self, mel: Tensor, mask: Tensor) -> Tensor:
        """The input of the first upsampling, from mel (B, mel, T) that is zero where `mask` (B, T) is False."""
        first = self._net.conv_pre
        x = self._convolve(first, mel.transpose(1, 2).contiguous())
        return bias_act(x, first.bias, slope=self._config.lrelu_slope, mask=mask)[1]

    def upsample(self, stage: int, x: Tensor) -> Tensor:
        """The upsampling of a stage, its bias left out: (B, T, C) to (B, rate * T, C / 2)."""
        layer = self._net.ups[stage]
        x, weight = _tall(x), self._weights[layer]
        return _flat(F.conv_transpose2d(x, weight, None, (1, layer.stride[0]), (0, layer.padding[0])))

    def stage(self, stage: int, x: Tensor, spectrum: Tensor, mask: Tensor) -> Tensor:
        """The layers behind the upsampling, and the activation of what follows.

        Args:
            stage: from 0.
            x: (B, T, C) from `upsample`; what it is where `mask` is False does not matter.
            spectrum: (B, frames, 2 bins) of the excitation, zero outside of the utterance.
            mask: (B, T) bool, False outside of the utterance.
        """
        net, kernels = self._net, len(self._config.resblock_kernel_sizes)
        down, source = net.source_downs[stage], net.source_resblocks[stage]
        s, act = bias_act(self._convolve(down, spectrum), down.bias, alpha=source.activations1[0].alpha, mask=mask)
        made, bias, s = self._block(source, s, act, mask)
        x, _ = bias_act(made, bias + net.ups[stage].bias, others=(s, x))
        blocks = net.resblocks[stage * kernels : (stage + 1) * kernels]
        total: tuple[Tensor, ...] = ()
        last = stage == len(net.ups) - 1
        for number, block in enumerate(blocks):
            _, act = bias_act(x, alpha=block.activations1[0].alpha, mask=mask)
            made, bias, rest = self._block(block, x, act, mask)
            end = number == kernels - 1
            slope = (0.01 if last else self._config.lrelu_slope) if end else None
            summed, act = bias_act(
                made, bias, others=(rest, *total), scale=1 / kernels if end else 1.0, slope=slope, mask=mask
            )
            total = (summed,)
        return act

    def end(self, x: Tensor) -> Tensor:
        """The spectrum of the waveform (B, 2 bins, T), from the result of the last stage."""
        post = self._net.conv_post
        return self._net.polar((self._convolve(post, x) + post.bias).transpose(1, 2))

    def _block(self, block: ResBlock, x: Tensor, act: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A residual block of x, whose first activation is `act`, as three parts to be added: (B, T, C), bias (C,), (B, T, C)."""
        pairs = len(block.convs1)
        for i, (first, second) in enumerate(zip(block.convs1, block.convs2, strict=True)):
            _, act = bias_act(self._convolve(first, act), first.bias, alpha=block.activations2[i].alpha, mask=mask)
            made = self._convolve(second, act)
            if i + 1 < pairs:
                x, act = bias_act(made, second.bias, others=(x,), alpha=block.activations1[i + 1].alpha, mask=mask)
        return made, second.bias, x

    def _convolve(self, layer: nn.Conv1d, x: Tensor) -> Tensor:
        stride, padding, dilation = layer.stride[0], layer.padding[0], layer.dilation[0]
        return _flat(F.conv2d(_tall(x), self._weights[layer], None, (1, stride), (0, padding), (1, dilation)))


def _tall(x: Tensor) -> Tensor:
    """(B, T, C) as (B, C, 1, T), channels last in memory."""
    return x.transpose(1, 2).unsqueeze(2)


def _flat(x: Tensor) -> Tensor:
    """(B, C, 1, T) to (B, T, C), contiguous; no copy where channels are last in memory."""
    return x.squeeze(2).transpose(1, 2).contiguous()
