"""The vocoder for one hop of many streams: a window of frames of fixed length that moves on by one hop.

As in `mamtra.acoustic.vocoder_stream`, the samples are those of one pass over all frames, except that each stream's noise comes
from a table. Each stage is computed as far as the samples of the hop depend on it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from mamtra.acoustic.fused_hift import FusedHiFT
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.masks import inside
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.acoustic.receptive_field import F0_REACH, stage_fields
from mamtra.acoustic.source_filter import SourceFilter
from mamtra.errors import MamTraError

NOISE = 2**22
"""Samples in the table of noise, three minutes; where a stream begins in it depends on its seed."""


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def noise_on(device: torch.device) -> Tensor:
    """The table of noise (NOISE,), standard normal of seed 0; shared, read-only."""
    return torch.randn(NOISE, generator=torch.Generator().manual_seed(0)).to(device)


class HopVocoder:
    """A vocoder with the sizes of its window.

    Args:
        vocoder: of CosyVoice 2's kind or at frame rate, in evaluation mode.
        frames: mel frames of a hop.
        dtype: of the layers of CosyVoice 2's kind, see `FusedHiFT`.

    Attributes:
        frames: see above.
        before: frames of the window in front of those whose samples are made.
        size: frames of the window, the last `frames` of which are new in a hop.
        state: numbers that a stream keeps, zeros at its start.

    Raises:
        MamTraError: the vocoder is of another kind.
    """

    def __init__(self, vocoder: HiFT | SourceFilter, frames: int, dtype: torch.dtype | None = None) -> None:
        if type(vocoder) not in (HiFT, SourceFilter):
            raise MamTraError("Hops need the vocoder of CosyVoice 2 or one at frame rate.")
        self.vocoder, self.frames = vocoder, frames
        self._layers = FusedHiFT(vocoder, dtype) if isinstance(vocoder, HiFT) else None
        self.before, self._after = vocoder.receptive_field()
        self.size = self.before + frames + self._after
        self._mel = (vocoder.config.in_channels, self.size - frames)
        self._source = (vocoder.m_source.channels, self.before * vocoder.config.hop)
        self._sizes = [math.prod(self._mel), math.prod(self._source), vocoder.m_source.harmonics]
        self.state = sum(self._sizes)

    def __call__(
        self,
        mel: Tensor,
        state: Tensor,
        begin: Tensor,
        end: Tensor,
        noise: Tensor,
        pitch_range: PitchRange = AS_IT_IS,
    ) -> tuple[Tensor, Tensor]:
        """One hop.

        Args:
            mel: (B, mel, frames) new frames, float32.
            state: (B, numbers) float32.
            begin: (B,) int64 frame of the window that is the utterance's first, 0 or less if that is longer ago.
            end: (B,) int64 frame of the window at which the utterance ends, `size` or more if it goes on.
            noise: (B,) int64 place in the table of noise of the first sample made, which is that of frame `before`.
            pitch_range: of the F0 predicted.

        Returns:
            Samples (B, frames * hop) of the frames from `before` on, zero outside of the utterance, and the next state.
        """
        hop, source = self.vocoder.config.hop, self.vocoder.m_source
        begin, end = begin.clamp(0, self.size), end.clamp(0, self.size)
        held, excitation, phase = state.split(self._sizes, dim=1)
        window = torch.cat([held.unflatten(1, self._mel), mel], dim=2)
        exists = inside(begin, end, self.size)[:, None]
        window = torch.where(exists, window, 0.0)
        # A rounding error of F0 adds up in the phase of all frames that follow.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            read = self.before - F0_REACH
            f0 = self.vocoder.f0_predictor(window[:, :, read:], exists[:, :, read:])[:, F0_REACH:]
        f0 = pitch_range.of(f0)
        drawn = noise[:, None] + torch.arange((self.size - self.before) * hop, device=mel.device)
        noises = noise_on(mel.device)[drawn % NOISE][:, :, None]
        phase = phase[:, :, None]
        fresh = source(f0, noises, phase=phase, begin=begin - self.before)
        excitation = torch.cat([excitation.unflatten(1, self._source), fresh], dim=2)
        wave = self._decode(window, excitation, begin, end)
        first = self.frames * hop
        kept = (
            window[:, :, self.frames :].flatten(1),
            excitation[:, :, first : first + self._source[1]].flatten(1),
            source.phase_after(f0[:, : self.frames], phase)[:, :, 0],
        )
        return wave, torch.cat(kept, dim=1)

    def _decode(self, window: Tensor, excitation: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """Samples of the hop."""
        vocoder, before = self.vocoder, self.before
        if self._layers is not None:
            fields = stage_fields(vocoder.config)
            return self._layers.decode(window, excitation[:, 0], begin, end, before, self.frames, fields)
        made = vocoder.decode_inside(window, excitation, begin, end)
        return made[:, before * vocoder.config.hop : (before + self.frames) * vocoder.config.hop]
