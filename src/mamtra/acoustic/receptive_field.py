"""Receptive field of the vocoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mamtra.acoustic.hift import HiFTConfig
    from mamtra.acoustic.source_filter import SourceFilterConfig

SOURCE_FILTER = "source_filter"
"""`architecture` of the vocoder at frame rate in config.json."""
OVER = 2
"""Positions by which the first layer of `mamtra.acoustic.source_filter` reaches over the ends of a mel frame."""
F0_REACH = 5
"""Receptive field of the F0 predictor in frames on either side: five convolutions of three taps."""


def receptive_field(config: HiFTConfig | SourceFilterConfig) -> tuple[int, int]:
    """Receptive field of a sample in mel frames, before and after it; 15 and 20 with CosyVoice 2's kernels.

    The excitation of earlier frames is cached, that of later ones depends on their F0, whose receptive field adds up.
    """
    if getattr(config, "architecture", None) == SOURCE_FILTER:
        return _of_frames(config)

    def block(kernel: int, dilations: tuple[int, ...]) -> float:
        return sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)

    kinds = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
    widest = max(block(*kind) for kind in kinds)
    sources = zip(config.source_resblock_kernel_sizes, config.source_resblock_dilation_sizes, strict=True)
    scale, following, of_mel, of_source = 1, 0.0, 3.0, 0.0
    for rate, kernel, source in zip(config.upsample_rates, config.upsample_kernel_sizes, sources, strict=True):
        of_mel += kernel / (2 * rate) / scale
        scale *= rate
        # Two more for the strided convolution of the excitation and the centring of its STFT frames.
        of_source = max(of_source, (block(*source) + 2) / scale - following)
        following += widest / scale
    rest = following + (3 + config.istft_n_fft / config.istft_hop) / scale
    decoder, excitation = of_mel + rest, of_source + rest
    return math.ceil(max(decoder, excitation)), math.ceil(max(decoder, excitation + F0_REACH + 0.5))


def _of_frames(config: SourceFilterConfig) -> tuple[int, int]:
    """`receptive_field` where all layers run at one rate."""
    frame = config.n_fft / (2 * config.hop)
    layers = frame + config.blocks * (config.kernel // 2) / config.rate
    before = max(layers + (OVER + 1) / config.rate, layers + frame)
    return math.ceil(before), math.ceil(max(before, layers + frame + 0.5 + F0_REACH))


def near_field(config: HiFTConfig | SourceFilterConfig) -> tuple[int, int]:
    """Mel frames before and after a sample beyond which others hardly change it; 12 and 10 with CosyVoice 2's kernels.

    Few paths through all layers lead farther: what lies there changes samples of a trained vocoder by less than 0.001. Where all
    layers run at one rate the edges of the field are heard, and what F0 adds to it is not: 10 and 9 with the default sizes.
    """
    before, after = receptive_field(config)
    if getattr(config, "architecture", None) == SOURCE_FILTER:
        return before, math.ceil(0.6 * after)
    return math.ceil(0.8 * before), math.ceil(0.5 * after)


def stage_fields(config: HiFTConfig) -> list[int]:
    """Mel frames on either side of a sample that each upsampling stage is computed for; 15, 4 and 2 with CosyVoice 2's kernels.

    The later a stage, the shorter is what a sample depends on: it would be waste to compute all of them as far as the first.
    """

    def block(kernel: int, dilations: tuple[int, ...]) -> float:
        return sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)

    widest = max(map(block, config.resblock_kernel_sizes, config.resblock_dilation_sizes))
    sources = list(map(block, config.source_resblock_kernel_sizes, config.source_resblock_dilation_sizes))
    fields, scale = list[int](), math.prod(config.upsample_rates)
    right = (3 + config.istft_n_fft / config.istft_hop) / scale
    for source, rate, kernel in list(zip(sources, config.upsample_rates, config.upsample_kernel_sizes, strict=True))[
        ::-1
    ]:
        right += widest / scale
        # Two more for the strided convolution of the excitation and the centring of its STFT frames.
        fields.insert(0, math.ceil(right + (source + 2) / scale))
        right += kernel / (2 * rate) / (scale / rate)
        scale //= rate
    return fields
