"""A mark in the samples by which it is found that a machine made them, and with whose key; it is too weak to be heard.

Cells of `FRAMES` frames of a Fourier transform and of two bins are made louder or softer by `STRENGTH` nepers, as signs that are
drawn from the key say, and the cells after them the other way. The mark needs no weights, and a stream is marked chunk by chunk. To
find it, the change of level from each cell to the next, without what is common to the bins around, is correlated with the signs at
every beginning that they may have. Without the mark the correlation is normally distributed, because the signs are random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mamtra.audio.io import resample
from mamtra.errors import MamTraError

KEY = "mamtra"
"""Of all who name no other."""
STRENGTH = 0.1
RATE, SIZE, HOP = 24000, 1024, 512
"""Frames: Hz, samples, and samples from one to the next; at another rate they take as long."""
LOWEST, HIGHEST = 12, 340
"""Bins that are marked: 280 to 8,000 Hz."""
FRAMES, PAIRS = 4, 8
"""Frames of a cell, and pairs of cells until the signs are repeated."""
FOUND = 6.0
"""Standard deviations of the correlation that a recording without the mark does not reach by chance."""
LEAST_SECONDS = 0.5
PART_SECONDS = 5.0, 20.0
"""A short part is enough for a mark that was not weakened; a long one may hold enough of a weak one."""
_AROUND, _MOST_NEPERS = 9, 1.0


@dataclass(frozen=True)
class Found:
    """What was found in a recording.

    Attributes:
        marked: whether any part of it holds the mark.
        score: standard deviations of the correlation in the part where it is highest.
        seconds: duration of the parts that hold the mark.
    """

    marked: bool
    score: float
    seconds: float


def mark(samples: np.ndarray, sample_rate: int, offset: int = 0, key: str = KEY) -> np.ndarray:
    """Mark a chunk of a stream. The first and last 20 ms are marked less, since no frame reaches beyond the chunk.

    Args:
        samples: float32 (T,).
        sample_rate: Hz.
        offset: samples of the stream before the chunk.
        key: whose mark it is.

    Returns:
        float32 (T,).
    """
    hop = round(HOP * sample_rate / RATE)
    size, first = 2 * hop, -(-offset // hop)
    begin = first * hop - offset
    if len(samples) - begin < size:
        return samples
    frames = _frames(samples[begin:], size, hop)
    window = _window(size)
    spectrum = np.fft.rfft(frames * window)
    cells = (first + np.arange(len(frames))) // FRAMES % (2 * PAIRS)
    signs = np.repeat(_signs(key)[cells], 2, axis=1)[:, : spectrum.shape[1] - LOWEST]
    gains = np.zeros(spectrum.shape)
    gains[:, LOWEST : LOWEST + signs.shape[1]] = np.expm1(STRENGTH * signs)
    change = np.fft.irfft(spectrum * gains, size) * window
    made = samples.astype(np.float64)
    for half in (0, 1):  # every second frame, which do not overlap
        part = change[half::2].ravel()
        made[begin + half * hop :][: len(part)] += part
    return made.astype(np.float32)


def detect(samples: np.ndarray, sample_rate: int, key: str = KEY) -> Found:
    """Look for the mark of a key, in parts of each of `PART_SECONDS`.

    Args:
        samples: float32 (T,).
        sample_rate: Hz.
        key: whose mark to look for.

    Raises:
        MamTraError: the recording is shorter than half a second.
    """
    if len(samples) < LEAST_SECONDS * sample_rate:
        raise MamTraError(f"The recording is shorter than {LEAST_SECONDS:g} s, too short to tell.")
    samples = resample(samples, sample_rate, RATE)
    signs = _signs(key)[::2]
    best, longest = 0.0, 0
    for count in {max(1, round(len(samples) / RATE / seconds)) for seconds in PART_SECONDS}:
        parts = np.array_split(samples, count)
        scores = [max(_correlations(part, signs), default=0.0) for part in parts]
        best = max(best, *scores)
        longest = max(longest, sum(len(part) for part, score in zip(parts, scores, strict=True) if score >= FOUND))
    return Found(longest > 0, float(best), longest / RATE)


def _correlations(samples: np.ndarray, signs: np.ndarray) -> Iterator[float]:
    """With signs (pairs, cells) at every beginning, in standard deviations. Frames are half a hop apart, as it may be anywhere."""
    cell = 2 * FRAMES
    if len(samples) < SIZE:
        return
    spectrum = np.fft.rfft(_frames(samples, SIZE, HOP // 2) * _window(SIZE))[:, LOWEST:HIGHEST]
    power = np.square(np.abs(spectrum)).reshape(len(spectrum), -1, 2).sum(2)
    level = np.log(power + 1e-5 * power.mean() + 1e-20) / 2
    inside = cell - 1  # frames that lie in one cell
    sums = np.cumsum(np.pad(level, ((1, 0), (0, 0))), axis=0)
    means = (sums[inside:] - sums[:-inside]) / inside
    steps = means[:-cell] - means[cell:]
    near = np.pad(steps, ((0, 0), (_AROUND // 2, _AROUND // 2)), mode="reflect")
    steps = steps - np.lib.stride_tricks.sliding_window_view(near, _AROUND, axis=1).mean(2)
    steps = np.clip(steps, -_MOST_NEPERS, _MOST_NEPERS)
    for start in range(2 * cell):
        rows = steps[start :: 2 * cell]  # one for each pair of cells
        together = np.zeros(signs.shape)
        for pair in range(PAIRS):
            together[pair] = rows[pair::PAIRS].sum(0)
        spread = np.sqrt(np.square(together).sum())
        for turn in range(PAIRS):
            yield float((together * np.roll(signs, -turn, axis=0)).sum() / spread) if spread else 0.0


def _signs(key: str) -> np.ndarray:
    """-1 and 1 (2 * pairs, cells); every second row is the opposite of the one before."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, (PAIRS, (HIGHEST - LOWEST) // 2)) * 2 - 1
    return np.stack([drawn, -drawn], axis=1).reshape(2 * PAIRS, -1)


def _window(size: int) -> np.ndarray:
    """Its squares, half a window apart, add up to 1."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size)


def _frames(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
