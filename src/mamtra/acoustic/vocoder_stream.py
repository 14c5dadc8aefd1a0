"""The vocoder while mel frames are still arriving: the samples of one pass over all of them.

HiFT's convolutions are not causal, but their receptive field is short; that of the causal ones lies before a sample but for a few
frames. A block is therefore computed with the frames in the receptive field: earlier ones are cached with their excitation, later
ones are waited for. The sines continue at the phase where they stopped and each sample has its own noise, so nothing has to be
cross-faded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange


class VocoderStream:
    """Samples of one utterance, or of several in lockstep, block by block.

    Args:
        vocoder: the vocoder, in evaluation mode.
        noise: returns the next n samples of noise, (B, n, 1) or as in `SineSource.forward`, on the vocoder's device.
        lookahead: frames held back until later ones have arrived; with fewer than `HiFT.receptive_field` gives, samples near the
            end of a block differ slightly from those of one pass.
        pitch_range: of the F0 predicted.
    """

    def __init__(
        self,
        vocoder: HiFT,
        noise: Callable[[int], Tensor],
        lookahead: int | None = None,
        pitch_range: PitchRange = AS_IT_IS,
    ) -> None:
        self._vocoder, self._next_noise, self._pitch_range = vocoder, noise, pitch_range
        self._before, after = vocoder.receptive_field()
        self._lookahead = after if lookahead is None else lookahead
        self._mel: Tensor | None = None
        self._source: Tensor | None = None
        self._noise: Tensor | None = None
        self._phase: Tensor | None = None

    @torch.inference_mode()
    def push(self, mel: Tensor, final: bool = False) -> Tensor:
        """Take frames and return the samples that no later frame changes.

        Args:
            mel: (B, in_channels, n), n >= 0.
            final: these are the last ones; the rest is returned.

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
        f0 = self._pitch_range.of(vocoder.predict_f0(mel)[:, done:])
        missing = (frames - done) * hop - (0 if self._noise is None else self._noise.shape[1])
        fresh = self._next_noise(missing)
        noise = fresh if self._noise is None else torch.cat([self._noise, fresh], dim=1)
        source = vocoder.source(f0, noise, phase=self._phase)
        if self._source is not None:
            source = torch.cat([self._source, source], dim=2)
        wave = vocoder.decode(mel, source)[:, done * hop : ready * hop]
        start = max(0, ready - self._before)
        self._mel, self._source = mel[:, :, start:], source[:, :, start * hop : ready * hop]
        self._noise = noise[:, (ready - done) * hop :]
        self._phase = vocoder.m_source.phase_after(f0[:, : ready - done], self._phase)
        return wave
