"""Short-time Fourier transform and its inverse for very short frames, as plain matrix products.

`torch.istft` reads a value on the host to check its window, which a CUDA graph cannot hold, and both library functions
are slow for frames of 16 samples; a product with the windowed Fourier basis avoids both. The tables are made outside
inference mode, so that training can use those that inference made.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.acoustic.masks import hide, valid_positions


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _bases(n_fft: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Analysis (n_fft, 2 bins), synthesis (2 bins, n_fft) and squared window (n_fft,), float32."""
    bins = n_fft // 2 + 1
    sample = torch.arange(n_fft, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * sample / n_fft)
    angle = 2 * math.pi / n_fft * torch.outer(sample, torch.arange(bins, dtype=torch.float64))
    analysis = torch.cat([angle.cos(), -angle.sin()], dim=1) * window[:, None]
    # The spectrum of a real signal is symmetric: all bins but the first and the last count twice.
    weight = torch.full((bins,), 2.0 / n_fft, dtype=torch.float64)
    weight[0] = weight[-1] = 1.0 / n_fft
    cosine, sine = angle.cos() * weight, -angle.sin() * weight
    sine[:, 0] = sine[:, -1] = 0
    synthesis = torch.cat([cosine, sine], dim=1) * window[:, None]
    return tuple(table.float().to(device) for table in (analysis, synthesis.T.contiguous(), window.square()))


def _frames(lengths: Tensor, begins: Tensor | None, hop: int, spectrum: Tensor) -> Tensor:
    """(B, 1, frames) bool, True for the frames of each row's samples from `begins` (0 if None) to `lengths`."""
    valid = valid_positions(lengths // hop + 1, spectrum.shape[2])
    return (valid if begins is None else valid & ~valid_positions(begins // hop, spectrum.shape[2]))[:, None]


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Sum frames (B, F, n_fft) that start `hop` samples apart, n_fft a multiple of it, to (B, hop * (F-1) + n_fft)."""
    parts = frames.unflatten(2, (-1, hop))
    count = parts.shape[2]
    return sum(F.pad(parts[:, :, i], (0, 0, i, count - 1 - i)) for i in range(count)).flatten(1)


def stft(wave: Tensor, n_fft: int, hop: int, lengths: Tensor | None = None, begins: Tensor | None = None) -> Tensor:
    """Centred STFT with a periodic Hann window and reflected edges.

    Args:
        wave: (B, L) float32.
        n_fft: frame and window length.
        hop: step between frames.
        lengths: (B,) samples of each row, multiples of `hop` of at least n_fft; later samples are not read.
        begins: (B,) samples before each row, multiples of `hop` that `lengths` counts too; they are not read.

    Returns:
        (B, n_fft + 2, L // hop + 1): real parts of all bins, then imaginary parts; zero beyond `lengths`.
    """
    if lengths is not None:
        # Each row is reflected at its own end.
        sample, last = torch.arange(wave.shape[1], device=wave.device), lengths[:, None] - 1
        read = torch.where(sample > last, 2 * last - sample, sample)
        if begins is not None:
            read = torch.where(sample < begins[:, None], 2 * begins[:, None] - sample, read)
        wave = wave.gather(1, read.clamp(0, wave.shape[1] - 1))
    analysis, _, _ = _bases(n_fft, wave.device)
    frames = F.pad(wave[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0].unfold(1, n_fft, hop)
    spectrum = torch.matmul(frames, analysis).transpose(1, 2)
    return spectrum if lengths is None else hide(spectrum, _frames(lengths, begins, hop, spectrum))


def istft(
    spectrum: Tensor, n_fft: int, hop: int, lengths: Tensor | None = None, begins: Tensor | None = None
) -> Tensor:
    """Inverse of `stft`.

    Args:
        spectrum: (B, n_fft + 2, frames) float32: real parts, then imaginary parts.
        n_fft: frame and window length, a multiple of `hop`.
        hop: step between frames.
        lengths: (B,) samples of each row, multiples of `hop`; None when all are full.
        begins: as in `stft`.

    Returns:
        (B, hop * (frames - 1)) samples; undefined beyond `lengths` and before `begins`.
    """
    _, synthesis, window = _bases(n_fft, spectrum.device)
    windows = window.expand(1, spectrum.shape[2], -1)
    if lengths is not None:
        valid = _frames(lengths, begins, hop, spectrum)
        spectrum, windows = hide(spectrum, valid), windows * valid.transpose(1, 2)
    frames = torch.matmul(spectrum.transpose(1, 2), synthesis)
    envelope = _overlap_add(windows, hop)
    if lengths is not None:
        envelope = envelope.clamp(min=1e-6)
    edge = n_fft // 2
    return _overlap_add(frames, hop)[:, edge:-edge] / envelope[:, edge:-edge]
