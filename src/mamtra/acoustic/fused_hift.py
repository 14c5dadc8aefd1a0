"""The layers of the vocoder for inference: channels last in memory, and one kernel for a convolution and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.acoustic.masks import inside
from mamtra.acoustic.resblock import ResBlock, Snake
from mamtra.acoustic.stft import istft, stft
from mamtra.ops.backend import has_kernels
from mamtra.ops.bias_act import bias_act
from mamtra.ops.wave_conv import WaveConv

if TYPE_CHECKING:
    from mamtra.acoustic.hift import HiFT

TOGETHER = 10880
"""Frames that are decoded at a time: what lies between two layers of more does not stay in a GPU's cache, and takes memory."""
ALIGNED = 16
"""Channels of the excitation's spectrum are filled up to a multiple of it, so that a kernel reads several at once."""


class FusedHiFT:
    """The stages of a vocoder over (B, T, C), in inference.

    Args:
        vocoder: in evaluation mode, at its place, its weight norms folded.
        dtype: of weights and of what lies between layers. None takes float16 where kernels run and PyTorch's convolutions may use
            TF32, whose operands have as many digits, else float32. F0, the excitation, the logarithms and phases of the spectrum
            and what is made of them are float32.
    """

    def __init__(self, vocoder: HiFT, dtype: torch.dtype | None = None) -> None:
        self._net, self._config = vocoder, vocoder.config
        half = has_kernels(vocoder.conv_post.bias.device) and torch.backends.cudnn.allow_tf32
        self._dtype = dtype or (torch.float16 if half else torch.float32)
        kernels = len(self._config.resblock_kernel_sizes)
        blocks = [vocoder.resblocks[i : i + kernels] for i in range(0, len(vocoder.resblocks), kernels)]
        self._ups = [WaveConv(layer, self._dtype) for layer in vocoder.ups]
        self._downs = [WaveConv([layer], self._dtype) for layer in vocoder.source_downs]
        self._sources = [_Blocks([block], self._dtype) for block in vocoder.source_resblocks]
        self._blocks = [_Blocks(several, self._dtype) for several in blocks]
        self._first = WaveConv([vocoder.conv_pre], self._dtype)
        self._last = WaveConv([vocoder.conv_post], self._dtype)

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
        spectrum = stft(source.float(), *fourier, end * hop, begin * hop).transpose(1, 2)
        spectrum = F.pad(spectrum, (0, -spectrum.shape[2] % ALIGNED)).to(self._dtype)
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
        x = mel.transpose(1, 2).to(self._dtype).contiguous()
        return self._first(x[None], slope=self._config.lrelu_slope, mask=mask, keep=False)[1][0]

    def upsample(self, stage: int, x: Tensor) -> Tensor:
        """The upsampling of a stage: (B, T, C) to (B, rate * T, C / 2)."""
        return self._ups[stage](x[None])[0][0].view(len(x), x.shape[1] * self._config.upsample_rates[stage], -1)

    def stage(self, stage: int, x: Tensor, spectrum: Tensor, mask: Tensor) -> Tensor:
        """The layers behind the upsampling, and the activation of what follows.

        Args:
            stage: from 0.
            x: (B, T, C) from `upsample`; what it is where `mask` is False does not matter.
            spectrum: (B, frames, 2 bins or more) of the excitation, zero outside of the utterance.
            mask: (B, T) bool, False outside of the utterance.
        """
        sources, blocks = self._sources[stage], self._blocks[stage]
        given = self._downs[stage](spectrum[None], alpha=sources.alpha, mask=mask)
        (source,) = sources(*given, mask)
        x, act = bias_act(x, others=(source,), alpha=blocks.alpha, mask=mask)
        made = blocks(x[None], act, mask)
        scale = 1 / len(made)
        while len(made) > 3:
            made = [bias_act(made[0], others=tuple(made[1:3]), slope=1.0)[0], *made[3:]]
        slope = 0.01 if stage == len(self._ups) - 1 else self._config.lrelu_slope
        return bias_act(made[0], others=tuple(made[1:]), scale=scale, slope=slope, mask=mask, keep=False)[1]

    def end(self, x: Tensor) -> Tensor:
        """The spectrum of the waveform (B, 2 bins, T), from the result of the last stage."""
        return self._net.polar(self._last(x[None], dtype=torch.float32)[0][0].transpose(1, 2))


class _Blocks:
    """Residual blocks side by side, each over an activation of its own.

    Args:
        blocks: of the same channels.
        dtype: see `FusedHiFT`.

    Attributes:
        alpha: (G, C) frequencies of their first activations.
    """

    def __init__(self, blocks: Sequence[ResBlock], dtype: torch.dtype) -> None:
        self.alpha = _alphas([block.activations1[0] for block in blocks])
        self._groups = []
        for _, same in groupby(blocks, key=lambda block: len(block.convs1)):
            group, pairs = list(same), []
            for i in range(len(group[0].convs1)):
                first, second = (WaveConv([convs[i] for convs in each], dtype) for each in (
                    [block.convs1 for block in group], [block.convs2 for block in group]
                ))  # fmt: skip
                inner = _alphas([block.activations2[i] for block in group])
                last = i + 1 == len(group[0].convs1)
                outer = None if last else _alphas([block.activations1[i + 1] for block in group])
                pairs.append((first, inner, second, outer))
            self._groups.append((len(group), pairs))

    def __call__(self, x: Tensor, act: Tensor, mask: Tensor) -> list[Tensor]:
        """Results (B, T, C) of the blocks of x (1, B, T, C), whose first activations are `act` (G, B, T, C)."""
        made: list[Tensor] = []
        for count, pairs in self._groups:
            here, total = act[len(made) : len(made) + count], x
            for first, inner, second, outer in pairs:
                _, here = first(here, alpha=inner, mask=mask, keep=False)
                total, here = second(here, residual=total, alpha=outer, mask=mask)
            made.extend(total)
        return made


def _alphas(layers: Sequence[Snake]) -> Tensor:
    return torch.stack([layer.alpha.detach().float() for layer in layers])


def _reflect(x: Tensor, begin: Tensor) -> Tensor:
    """One position more in front of (B, T, C); what stands before `begin` (B,) then is the position after it, as at an edge."""
    x = torch.cat([x[:, 1:2], x], dim=1)
    at = begin.clamp(0, x.shape[1] - 3)[:, None, None].expand(-1, 1, x.shape[2])
    return x.scatter_(1, at, torch.where((begin > 0)[:, None, None], x.gather(1, at + 2), x.gather(1, at)))
