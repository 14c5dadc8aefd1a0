"""Edges of spoken segments: light trimming, short fades, and the pauses that the text asks for."""

from __future__ import annotations

import numpy as np

FADE_SECONDS = 0.005
KEEP_SECONDS = 0.04
_FLOOR_DB = -45.0
_NOTHING = 1e-10
"""Power of the loudest frame where all is silent, at most."""


def frame_power(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean squares (frames,), float64, of the whole frames of 10 ms of (T,) samples."""
    hop = max(1, sample_rate // 100)
    return np.square(samples[: len(samples) // hop * hop].reshape(-1, hop).astype(np.float64)).mean(axis=1)


def is_loud(power: np.ndarray, loudest: float | None = None) -> np.ndarray:
    """Which frames (frames,) are less than 45 dB below the loudest one, by default the loudest of these."""
    loudest = power.max(initial=0.0) if loudest is None else loudest
    return power > loudest * 10 ** (_FLOOR_DB / 10) if loudest > _NOTHING else np.zeros(len(power), bool)


def trim_edges(samples: np.ndarray, sample_rate: int, *, keep: float = KEEP_SECONDS) -> np.ndarray:
    """Cut the silence at both ends of (T,) samples down to `keep` seconds.

    Silence is more than 45 dB below the loudest 10 ms of the segment. A segment of silence alone is returned unchanged, since
    there is no speech to compare with.
    """
    loud = np.flatnonzero(is_loud(frame_power(samples, sample_rate)))
    if not len(loud):
        return samples
    hop, margin = max(1, sample_rate // 100), round(keep * sample_rate)
    start = max(0, loud[0] * hop - margin)
    end = min(len(samples), (loud[-1] + 1) * hop + margin)
    return samples[start:end]


def fade_edges(samples: np.ndarray, sample_rate: int, *, seconds: float = FADE_SECONDS) -> np.ndarray:
    """Fade (T,) samples in and out over `seconds`, so that a cut does not click."""
    return _fade(samples, sample_rate, True, True, seconds)


def _fade(samples: np.ndarray, sample_rate: int, first: bool, last: bool, seconds: float = FADE_SECONDS) -> np.ndarray:
    length = min(round(seconds * sample_rate), len(samples) // (first + last or 1))
    if length == 0:
        return samples
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    faded = samples.astype(np.float32, copy=True)
    if first:
        faded[:length] *= ramp
    if last:
        faded[-length:] *= ramp[::-1]
    return faded


def prepare_segment(samples: np.ndarray, sample_rate: int, pause_before: float = 0.0) -> np.ndarray:
    """Trim and fade one segment, and put the pause before it, so that segments can be concatenated.

    The silence that trimming keeps on both sides counts towards the pause, so the audible gap is `pause_before`.

    Args:
        samples: (T,) float samples of one segment.
        sample_rate: Hz.
        pause_before: silence before the segment in seconds; 0 for the first one.
    """
    segment = fade_edges(trim_edges(samples, sample_rate), sample_rate)
    gap = max(0.0, pause_before - 2 * KEEP_SECONDS)
    silence = np.zeros(round(gap * sample_rate), dtype=np.float32)
    return np.concatenate([silence, segment])


class EdgeTrimmer:
    """`prepare_segment` for samples that are still arriving.

    Samples that may be the silence at the end are held back. Silence is relative to the loudest 10 ms so far.

    Args:
        sample_rate: Hz.
        pause_before: as in `prepare_segment`.

    Attributes:
        pause: seconds of silence put before the segment.
        trimmed: seconds cut at its beginning so far.
    """

    def __init__(self, sample_rate: int, pause_before: float = 0.0) -> None:
        self.trimmed = 0.0
        self._rate = sample_rate
        self._hop = max(1, sample_rate // 100)
        gap = max(0.0, pause_before - 2 * KEEP_SECONDS)
        self._silence = np.zeros(round(gap * sample_rate), dtype=np.float32)
        self.pause = len(self._silence) / sample_rate
        self._held = np.zeros(0, dtype=np.float32)
        self._peak = 0.0
        self._begun = False

    def push(self, samples: np.ndarray, final: bool = False) -> np.ndarray:
        """Take samples (T,) and return those (T',) that can be played; `final` returns the rest."""
        held, hop = np.concatenate([self._held, samples]).astype(np.float32), self._hop
        power = frame_power(held, self._rate)
        self._peak = max(self._peak, power.max(initial=0.0))
        loud = np.flatnonzero(is_loud(power, self._peak))
        margin = round(KEEP_SECONDS * self._rate)
        if not (len(loud) or final):
            self._held = held
            return held[:0]
        begins = not self._begun
        self._begun = True
        start = max(0, loud[0] * hop - margin) if begins and len(loud) else 0
        self.trimmed += start / self._rate
        if not final:
            end = loud[-1] * hop
        elif len(loud):
            end = (loud[-1] + 1) * hop + margin
        else:
            end = len(held) if begins else margin
        self._held = held[end:]
        faded = _fade(held[start:end], self._rate, begins, final)
        return np.concatenate([self._silence, faded]) if begins else faded


class PauseBefore:
    """What `EdgeTrimmer` does, without trimming and fading: the pause alone is added.

    Args:
        sample_rate: Hz.
        pause_before: silence before the segment in seconds.

    Attributes:
        pause, trimmed: as those of `EdgeTrimmer`.
    """

    trimmed = 0.0

    def __init__(self, sample_rate: int, pause_before: float = 0.0) -> None:
        self._silence = np.zeros(round(pause_before * sample_rate), dtype=np.float32)
        self.pause = len(self._silence) / sample_rate

    def push(self, samples: np.ndarray, final: bool = False) -> np.ndarray:
        """Take samples (T,) and return them, the first ones behind the pause."""
        silence, self._silence = self._silence, self._silence[:0]
        return np.concatenate([silence, samples])
