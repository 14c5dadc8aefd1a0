"""The three spectral features of CosyVoice 2 and 3: flow mel, Whisper log-mel and Kaldi filter bank.

Plain torch on any device. Filter banks and windows are made once for each device, outside inference mode, so that training
can use those that inference made.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.audio.filterbanks import kaldi_filters, slaney_filters

_FLOAT32_EPSILON = 1.1920928955078125e-07


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def slaney_filterbank(rate: int, n_fft: int, mels: int, high: float, device: torch.device) -> Tensor:
    """`mamtra.audio.filterbanks.slaney_filters` on a device."""
    return torch.from_numpy(slaney_filters(rate, n_fft, mels, high)).to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def kaldi_filterbank(rate: int, n_fft: int, mels: int, low: float, high: float, device: torch.device) -> Tensor:
    """`mamtra.audio.filterbanks.kaldi_filters` on a device."""
    return torch.from_numpy(kaldi_filters(rate, n_fft, mels, low, high)).to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _hann(size: int, periodic: bool, device: torch.device) -> Tensor:
    return torch.hann_window(size, periodic=periodic, dtype=torch.float64).float().to(device)


def _power(wave: Tensor, n_fft: int, hop: int, center: bool) -> Tensor:
    """|STFT|^2 (B, bins, frames) with a periodic Hann window."""
    window = _hann(n_fft, True, wave.device)
    spectrum = torch.stft(
        wave, n_fft, hop, window=window, center=center, pad_mode="reflect", onesided=True, return_complex=True
    )
    return spectrum.real.square() + spectrum.imag.square()


def mel_24k(wave: Tensor, high: float = 8000.0) -> Tensor:
    """Log mel of the flow and the vocoder: 80 bins, 50 frames a second (HiFi-GAN's definition).

    Args:
        wave: (B, T) at 24 kHz in [-1, 1]; more than 720 samples.
        high: upper edge in Hz: 8000 for CosyVoice 2 and the models of this package, 12000 for CosyVoice 3.

    Returns:
        (B, 80, T // 480) float32, natural logarithm with floor 1e-5.
    """
    with torch.autocast(wave.device.type, enabled=False):
        padded = F.pad(wave.float()[:, None], (720, 720), mode="reflect")[:, 0]
        magnitude = torch.sqrt(_power(padded, 1920, 480, center=False) + 1e-9)
        mel = torch.matmul(slaney_filterbank(24000, 1920, 80, high, wave.device), magnitude)
        return mel.clamp(min=1e-5).log()


def whisper_log_mel(wave: Tensor, mels: int) -> Tensor:
    """Whisper's log-mel, 100 frames a second, without padding to 30 s (Radford et al. 2022).

    Args:
        wave: (B, T) at 16 kHz in [-1, 1]; more than 200 samples.
        mels: bins; 80, or 128 since large-v3.

    Returns:
        (B, mels, T // 160) float32; each row is clamped to 8 decades below its own maximum, then (x + 4) / 4.
    """
    with torch.autocast(wave.device.type, enabled=False):
        power = _power(wave.float(), 400, 160, center=True)[..., :-1]
        mel = torch.matmul(slaney_filterbank(16000, 400, mels, 8000.0, wave.device), power).clamp(min=1e-10).log10()
        return (torch.maximum(mel, mel.amax((-2, -1), keepdim=True) - 8) + 4) / 4


def whisper_log_mel_128(wave: Tensor) -> Tensor:
    """That of CosyVoice's speech tokenizers: `whisper_log_mel` with 128 bins."""
    return whisper_log_mel(wave, 128)


def kaldi_fbank_80(wave: Tensor) -> Tensor:
    """Kaldi's log filter bank for the speaker encoder: 80 bins, 25 ms frames every 10 ms, no dither.

    The speaker encoder takes it minus its mean over frames.

    Args:
        wave: (..., T) at 16 kHz in [-1, 1], not scaled to 16 bits; at least 400 samples.

    Returns:
        (..., 1 + (T - 400) // 160, 80) float32, natural logarithm with floor 2^-23.
    """
    with torch.autocast(wave.device.type, enabled=False):
        frames = wave.float().unfold(-1, 400, 160)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        povey = _hann(400, False, wave.device) ** 0.85
        spectrum = torch.fft.rfft((frames - 0.97 * before) * povey, n=512)
        power = spectrum.real.square() + spectrum.imag.square()
        filters = kaldi_filterbank(16000, 512, 80, 20.0, 8000.0, wave.device)
        return torch.matmul(power, filters.T).clamp(min=_FLOAT32_EPSILON).log()
