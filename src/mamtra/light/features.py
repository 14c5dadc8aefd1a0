"""The spectral features of `mamtra.audio.features` with numpy, of one recording."""

from __future__ import annotations

import numpy as np

from mamtra.audio.filterbanks import kaldi_filters, slaney_filters

_LEAST = np.float32(2.0**-23)


def mel_24k(wave: np.ndarray) -> np.ndarray:
    """Log mel (80, T // 480) float32 of the flow and the vocoder, of samples (T,) at 24 kHz."""
    power = _power(np.pad(wave, 720, mode="reflect"), 1920, 480)
    mel = slaney_filters(24000, 1920, 80, 8000.0) @ np.sqrt(power + np.float32(1e-9)).T
    return np.log(mel.clip(min=np.float32(1e-5)))


def whisper_log_mel(wave: np.ndarray, mels: int) -> np.ndarray:
    """Log mel (mels, T // 160) float32 of the speech tokenizer, of samples (T,) at 16 kHz."""
    power = _power(np.pad(wave, 200, mode="reflect"), 400, 160)[:-1]
    mel = np.log10((slaney_filters(16000, 400, mels, 8000.0) @ power.T).clip(min=np.float32(1e-10)))
    return (np.maximum(mel, mel.max() - 8) + 4) / 4


def kaldi_fbank_80(wave: np.ndarray) -> np.ndarray:
    """Log filter bank (1 + (T - 400) // 160, 80) float32 of the speaker encoder, of samples (T,) at 16 kHz."""
    frames = _frames(wave, 400, 160)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = (np.hanning(400) ** 0.85).astype(np.float32)
    power = _square(np.fft.rfft((frames - np.float32(0.97) * before) * window, 512))
    return np.log((power @ kaldi_filters(16000, 512, 80, 20.0, 8000.0).T).clip(min=_LEAST))


def _frames(wave: np.ndarray, size: int, hop: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(wave.astype(np.float32, copy=False), size)[::hop]


def _power(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """|STFT|^2 (frames, bins) float32 with a periodic Hann window."""
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    return _square(np.fft.rfft(_frames(wave, n_fft, hop) * window))


def _square(spectrum: np.ndarray) -> np.ndarray:
    return (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32, copy=False)
