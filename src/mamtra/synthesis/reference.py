"""What a voice takes from a recording: speech tokens, mel and speaker embedding, computed by the parts of either runtime."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mamtra.audio.io import resample
from mamtra.audio.sinc_resample import sinc_resample
from mamtra.synthesis.speaker_change import advise_on_speakers


class Hearing(Protocol):
    """The parts that listen: `mamtra.synthesis.hearing.TorchHearing`, `mamtra.light.hearing.LightHearing`."""

    def tokenize(self, wave: np.ndarray) -> np.ndarray:
        """Speech tokens (N,) int64 of samples (T,) at 16 kHz."""

    def mel(self, wave: np.ndarray) -> np.ndarray:
        """Log mel (80, F) float32 of samples (T,) at 24 kHz."""

    def fbank(self, wave: np.ndarray) -> np.ndarray:
        """Log filter bank (F, 80) float32 of samples (T,) at 16 kHz."""

    def embed(self, fbanks: np.ndarray) -> np.ndarray:
        """Speaker embeddings (B, E) float32 of filter banks (B, F, 80) minus their means over frames."""


def encode_reference(
    hearing: Hearing, wave: np.ndarray, rate: int, *, original: bool, advise: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """What a voice takes from samples (T,).

    Tokens and mel are cut to the shorter of the two at two frames a token, as CosyVoice 2 aligns its prompts.

    Args:
        original: resample with the filter of CosyVoice 2.
        advise: look for a second speaker.

    Returns:
        Speech tokens int64 (N,), mel float32 (2N, 80), speaker embedding float32 (E,), and advice on the speakers.
    """
    wave16 = resampled(wave, rate, 16000, original)
    tokens = hearing.tokenize(wave16)
    mel = hearing.mel(resampled(wave, rate, 24000, original)).T
    count = min(len(tokens), len(mel) // 2)
    fbank = hearing.fbank(wave16)
    advice = advise_on_speakers(fbank, hearing.embed) if advise else []
    return tokens[:count], mel[: 2 * count], embed_speaker(fbank, hearing), advice


def embed_speaker(fbank: np.ndarray, hearing: Hearing) -> np.ndarray:
    """Speaker embedding float32 (E,) of a filter bank (F, 80)."""
    return hearing.embed((fbank - fbank.mean(axis=0))[None])[0]


def resampled(wave: np.ndarray, rate: int, target: int, original: bool) -> np.ndarray:
    """Samples (T,) float32 at another rate, `original` with the filter of CosyVoice 2."""
    return np.ascontiguousarray((sinc_resample if original else resample)(wave, rate, target), np.float32)
