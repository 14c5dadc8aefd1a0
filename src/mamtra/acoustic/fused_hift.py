"""The layers of the vocoder for inference: channels last in memory, and one kernel between two convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.masks import inside
from mamtra.acoustic.resblock import ResBlock
from mamtra.acoustic.stft import istft, stft
from mamtra.ops.bias_act import bias_act

if TYPE_CHECKING:
    from mamtra.acoustic.hift import HiFT

TOGETHER = 10880
"""Frames that are decoded at a time: what lies between two layers of more does not stay in a GPU's cache, and takes memory."""


class FusedHiFT:
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

    def decode(
        self,
        mel: Tensor,
        source: Tensor,
        begin: Tensor,
        end: Tensor,
        first: int = 0,
        count: int | None = None,
        fields: Sequence[int] | None = None,
    ) -> Tensor:
        """Samples (B, count * hop) float32 of the frames from `first` on, as `HiFT.decode` makes them.

        Args:
            mel: (B, mel, T), zero outside of the utterance.
            source: (B, T * hop) excitation.
            begin: (B,) int64 first frame of each utterance.
            end: (B,) int64 frame at which it ends.
            first: see above.
            count: see above; all by default.
            fields: frames on either side of these that each stage is computed for, see `stage_fields`; all by default.
        """
        count, fields = mel.shape[2] - first if count is None else count, fields or [mel.shape[2]] * len(self._net.ups)
        parts = zip(*(each.split(max(1, TOGETHER // mel.shape[2])) for each in (mel, source, begin, end)), strict=True)
        return torch.cat([self._decode(*part, first, count, fields) for part in parts])

    def _decode(
        self, mel: Tensor, source: Tensor, begin: Tensor, end: Tensor, first: int, count: int, fields: Sequence[int]
    ) -> Tensor:
        config, size = self._config, mel.shape[2]
        fourier, hop, last = (config.istft_n_fft, config.istft_hop), config.hop, len(fields) - 1
        rates = hop // config.istft_hop
        spectrum = stft(source.float(), *fourier, end * hop, begin * hop).transpose(1, 2).to(mel.dtype).contiguous()
        x, left, scale = self.begin(mel, inside(begin, end, size)), 0, 1
        for stage, field in enumerate(fields):
            x = self.upsample(stage, x)
            scale *= config.upsample_rates[stage]
            start, stop = max(left, first - field), min(size, first + count + field)
            x = x[:, (start - left) * scale : (stop - left) * scale]
            left, more = start, int(stage == last)
            x = _reflect(x, (begin - left) * scale) if more else x.contiguous()
            exists = inside((begin - left) * scale, (end - left) * scale + more, x.shape[1])
            here = spectrum[:, start * rates : stop * rates + 1].contiguous()
            x = self.stage(stage, x, here, exists)
        samples = istft(self.end(x), *fourier, (end - left) * hop, (begin - left) * hop)
        samples = samples[:, (first - left) * hop : (first - left + count) * hop]
        heard = inside((begin - first) * hop, (end - first) * hop, samples.shape[1])
        return torch.where(heard, samples.clamp(-config.audio_limit, config.audio_limit), 0.0)

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


def _reflect(x: Tensor, begin: Tensor) -> Tensor:
    """One position more in front of (B, T, C); what stands before `begin` (B,) then is the position after it, as at an edge."""
    x = torch.cat([x[:, 1:2], x], dim=1)
    at = begin.clamp(0, x.shape[1] - 3)[:, None, None].expand(-1, 1, x.shape[2])
    return x.scatter_(1, at, torch.where((begin > 0)[:, None, None], x.gather(1, at + 2), x.gather(1, at)))
