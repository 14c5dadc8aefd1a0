"""The vocoder while mel frames are still coming: the sound of one pass over all of them, without seams.

HiFT's convolutions look both ways, but not far. A piece is therefore made with the frames around it that it can hear of: those
before are kept with the excitation they were given, those after are waited for. The sines go on at the phase where they
stopped and the noise belongs to its sample, so nothing has to be cross-faded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mamtra.acoustic.hift import HiFT, HiFTConfig

F0_REACH = 5
"""Frames on either side that the F0 predictor looks at: five convolutions of three taps."""


def reach(config: HiFTConfig) -> tuple[int, int]:
    """How many mel frames before and after it a sample depends on; 15 and 20 with CosyVoice 2's kernels.

    Later pieces know the excitation of what was before, but that of frames to come rests on their F0, which looks on.
    """

    def block(kernel: int, dilations: tuple[int, ...]) -> float:
        return sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)

    kinds = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
    widest = max(block(*kind) for kind in kinds)
    sources = zip(config.source_resblock_kernel_sizes, config.source_resblock_dilation_sizes, strict=True)
    scale, behind, of_mel, of_source = 1, 0.0, 3.0, 0.0
    for rate, kernel, source in zip(config.upsample_rates, config.upsample_kernel_sizes, sources, strict=True):
        of_mel += kernel / (2 * rate) / scale
        scale *= rate
        # One step more for the strided convolution of the excitation and for the centring of its frames.
        of_source = max(of_source, (block(*source) + 2) / scale - behind)
        behind += widest / scale
    rest = behind + (3 + config.istft_n_fft / config.istft_hop) / scale
    decoder, excitation = of_mel + rest, of_source + rest
    return math.ceil(max(decoder, excitation)), math.ceil(max(decoder, excitation + F0_REACH + 0.5))


class VocoderStream:
    """Sound of one utterance, or of several in lockstep, piece by piece.

    Args:
        vocoder: the vocoder, in evaluation mode.
        draw: gives the next so many samples of noise, (B, n, 1) or as in `SineSource.forward`, on the vocoder's device.
        lookahead: frames held back until what follows is known; with fewer than `reach` asks for, seams are only nearly
            those of one pass.
    """

    def __init__(self, vocoder: HiFT, draw: Callable[[int], Tensor], lookahead: int | None = None) -> None:
        self._vocoder, self._draw = vocoder, draw
        self._before, after = reach(vocoder.config)
        self._lookahead = after if lookahead is None else lookahead
        self._mel: Tensor | None = None
        self._source: Tensor | None = None
        self._noise: Tensor | None = None
        self._phase: Tensor | None = None

    @torch.inference_mode()
    def push(self, mel: Tensor, final: bool = False) -> Tensor:
        """Hand over frames and get the sound that is settled by them.

        Args:
            mel: (B, in_channels, n), n >= 0.
            final: nothing follows; all that is left comes out.

        Returns:
            (B, samples) float32, a multiple of the hop, often none.
        """
        vocoder, hop = self._vocoder, self._vocoder.config.hop
        mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=2)
        done = 0 if self._source is None else self._source.shape[2] // hop
        frames = mel.shape[2]
        ready = frames if final else frames - self._lookahead
        self._mel = mel
        if ready <= done:
            return mel.new_zeros(mel.shape[0], 0, dtype=torch.float32)
        f0 = vocoder.predict_f0(mel)[:, done:]
        missing = (frames - done) * hop - (0 if self._noise is None else self._noise.shape[1])
        drawn = self._draw(missing)
        noise = drawn if self._noise is None else torch.cat([self._noise, drawn], dim=1)
        source = vocoder.source(f0, noise, phase=self._phase)
        if self._source is not None:
            source = torch.cat([self._source, source], dim=2)
        wave = vocoder.decode(mel, source)[:, done * hop : ready * hop]
        start = max(0, ready - self._before)
        self._mel, self._source = mel[:, :, start:], source[:, :, start * hop : ready * hop]
        self._noise = noise[:, (ready - done) * hop :]
        self._phase = vocoder.m_source.phase_after(f0[:, : ready - done], self._phase)
        return wave
