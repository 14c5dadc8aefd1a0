"""HiFT vocoder: mel to 24 kHz waveform with a sine source and an inverse STFT (HiFTNet, Li et al. 2023).

Parameter names follow the CosyVoice 2 release, without its prefix `generator.`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, model_validator
from torch import Tensor, nn

from mamtra.acoustic.convolution import Conv1d, ConvTranspose1d
from mamtra.acoustic.f0_predictor import F0Predictor
from mamtra.acoustic.fused_hift import FusedHiFT
from mamtra.acoustic.masks import hide, inside, valid_positions
from mamtra.acoustic.receptive_field import receptive_field
from mamtra.acoustic.resblock import ResBlock, centred, normed
from mamtra.acoustic.sine_source import SineSource
from mamtra.acoustic.stft import istft, stft
from mamtra.acoustic.vocoder import Vocoder
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.strict_models import Size

LOG_LARGEST_MAGNITUDE = math.log(100.0)


class HiFTConfig(BaseModel):
    """Sizes of the vocoder; the defaults are CosyVoice 2's. Rates and kernels are one entry for each upsampling stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: Size = 80
    base_channels: Size = 512
    nb_harmonics: NonNegativeInt = 8
    sampling_rate: Size = 24000
    nsf_alpha: NonNegativeFloat = 0.1
    nsf_sigma: NonNegativeFloat = 0.003
    nsf_voiced_threshold: NonNegativeFloat = 10.0
    upsample_rates: tuple[Size, ...] = (8, 5, 3)
    upsample_kernel_sizes: tuple[Size, ...] = (16, 11, 7)
    istft_n_fft: Size = 16
    istft_hop: Size = 4
    resblock_kernel_sizes: tuple[Size, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[Size, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    source_resblock_kernel_sizes: tuple[Size, ...] = (7, 7, 11)
    source_resblock_dilation_sizes: tuple[tuple[Size, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    lrelu_slope: float = Field(0.1, ge=0, lt=1)
    audio_limit: float = Field(0.99, gt=0, le=1)
    f0_channels: Size = 512

    @property
    def hop(self) -> int:
        """Samples for each mel frame."""
        return math.prod(self.upsample_rates) * self.istft_hop

    @model_validator(mode="after")
    def _consistent(self) -> HiFTConfig:
        stages = len(self.upsample_rates)
        for name in ("upsample_kernel_sizes", "source_resblock_kernel_sizes", "source_resblock_dilation_sizes"):
            if len(getattr(self, name)) != stages:
                raise ValueError(f"{name} needs {stages} entries, one for each of upsample_rates")
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ValueError("resblock_kernel_sizes and resblock_dilation_sizes need the same number of entries")
        if self.istft_n_fft % self.istft_hop or self.istft_n_fft % 2:
            raise ValueError("istft_n_fft must be even and a multiple of istft_hop")
        if self.base_channels % 2**stages:
            raise ValueError(f"base_channels must be divisible by {2**stages}, since every upsampling halves it")
        return self


class HiFT(Vocoder):
    """The vocoder; `mamtra.acoustic.causal_hift` replaces its layers by causal ones."""

    convolution: Callable[..., nn.Module] = staticmethod(centred)
    source_class = SineSource

    def __init__(self, config: HiFTConfig) -> None:
        super().__init__(config)
        bins = config.istft_n_fft + 2
        rates, base = config.upsample_rates, config.base_channels
        widths = [base >> (stage + 1) for stage in range(len(rates))]
        self.m_source = self.source_class(
            config.nb_harmonics,
            config.hop,
            config.sampling_rate,
            config.nsf_alpha,
            config.nsf_sigma,
            config.nsf_voiced_threshold,
        )
        self.conv_pre = normed(self.first_convolution(), small=False)
        self.ups = nn.ModuleList(
            normed(self.upsampling(2 * width, width, kernel, rate))
            for width, kernel, rate in zip(widths, config.upsample_kernel_sizes, rates, strict=True)
        )
        downs = [math.prod(rates[stage + 1 :]) for stage in range(len(rates))]
        self.source_downs = nn.ModuleList(
            self.downsampling(bins, width, down) if down > 1 else Conv1d(bins, width, 1)
            for width, down in zip(widths, downs, strict=True)
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations, self.convolution)
            for width, kernel, dilations in zip(
                widths, config.source_resblock_kernel_sizes, config.source_resblock_dilation_sizes, strict=True
            )
        )
        kinds = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
        self.resblocks = nn.ModuleList(ResBlock(width, *kind, self.convolution) for width in widths for kind in kinds)
        self.conv_post = normed(self.convolution(widths[-1], bins, 7))
        self.f0_predictor = self.f0()
        self._fused: FusedHiFT | None = None

    def first_convolution(self) -> nn.Module:
        """The convolution over the mel."""
        return centred(self.config.in_channels, self.config.base_channels, 7)

    def upsampling(self, inputs: int, outputs: int, kernel: int, rate: int) -> nn.Module:
        """A layer from T to rate*T positions."""
        return ConvTranspose1d(inputs, outputs, kernel, rate, padding=(kernel - rate) // 2)

    def downsampling(self, inputs: int, outputs: int, rate: int) -> nn.Module:
        """A layer from rate*T + 1 frames of the excitation's STFT to T positions."""
        return Conv1d(inputs, outputs, 2 * rate, rate, padding=rate // 2)

    def f0(self) -> nn.Module:
        """The predictor of F0."""
        return F0Predictor(self.config.in_channels, self.config.f0_channels)

    def receptive_field(self) -> tuple[int, int]:
        """Mel frames before and after it that a sample depends on."""
        return receptive_field(self.config)

    def use_graphs(self, graphs: GraphCache) -> None:
        """See `Vocoder.use_graphs`."""
        super().use_graphs(graphs)
        if graphs.device.type == "cuda" and type(self) is HiFT:
            self._fused = FusedHiFT(self)

    def _decode(self, mel: Tensor, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self._fused is not None and not torch.is_grad_enabled():
            begin = torch.zeros(len(mel), dtype=torch.int64, device=mel.device)
            end = begin + mel.shape[2] if lengths is None else lengths
            return self._fused.decode(hide(mel, inside(begin, end, mel.shape[2])[:, None]), source[:, 0], begin, end)
        config = self.config
        fourier, samples = (config.istft_n_fft, config.istft_hop), None if lengths is None else lengths * config.hop
        with torch.autocast(mel.device.type, enabled=False):
            spectrum = stft(source.squeeze(1).float(), *fourier, samples).to(mel.dtype)

        def padding(scale: int, more: int, x: Tensor) -> Tensor | None:
            return None if lengths is None else valid_positions(lengths * scale + more, x.shape[2])[:, None]

        scale, mask = 1, padding(1, 0, mel)
        x = hide(self.conv_pre(hide(mel, mask)), mask)
        for stage, up in enumerate(self.ups):
            scale *= config.upsample_rates[stage]
            x = up(F.leaky_relu(x, config.lrelu_slope, inplace=True))
            if stage == len(self.ups) - 1:
                # A centred STFT has one more frame than hops.
                x = F.pad(x, (1, 0), mode="reflect")
            mask = padding(scale, int(stage == len(self.ups) - 1), x)
            x = self.stage(stage, hide(x, mask), spectrum, mask)
        with torch.autocast(mel.device.type, enabled=False):
            wave = istft(self.spectrum(x), *fourier, samples)
        wave = wave.clamp(-config.audio_limit, config.audio_limit)
        return wave if samples is None else wave * valid_positions(samples, wave.shape[1])

    def stage(self, stage: int, x: Tensor, spectrum: Tensor, mask: Tensor | None) -> Tensor:
        """The layers of one rate (B, C, T), behind its upsampling.

        Args:
            stage: from 0.
            x: (B, C, T), zero where `mask` is False.
            spectrum: of the excitation of these positions.
            mask: (B, 1, T) False beyond the utterance, or None; there the result is zero.
        """
        kernels = len(self.config.resblock_kernel_sizes)
        x = self.source_resblocks[stage](self.source_downs[stage](spectrum), mask).add_(x)
        first, *others = self.resblocks[stage * kernels : (stage + 1) * kernels]
        total = first(x, mask)
        for block in others:
            total = total.add_(block(x, mask))
        return hide(total.div_(kernels), mask)

    def spectrum(self, x: Tensor) -> Tensor:
        """The spectrum of the waveform (B, 2 bins, T) float32, from the result of the last stage."""
        x = F.leaky_relu(x, inplace=True)
        with torch.autocast(x.device.type, enabled=False):
            # A phase or a logarithm rounded to bfloat16 is noise at -40 dB: in mixed precision the last layer is float32.
            return self.polar(self.conv_post(x.to(self.conv_post.bias.dtype)))

    @staticmethod
    def polar(x: Tensor) -> Tensor:
        """Real and imaginary parts from logarithms of magnitudes and what phases are the sine of (B, 2 bins, T); float32."""
        log_magnitude, phase = x.float().chunk(2, dim=1)
        # Limiting before exp rather than after keeps the gradient finite.
        magnitude = log_magnitude.clamp(max=LOG_LARGEST_MAGNITUDE).exp()
        phase = torch.sin(phase)
        return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=1)
