"""The parts of a `Model` that listen to a recording, arrays in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mamtra.audio.features import kaldi_fbank_80, mel_24k

if TYPE_CHECKING:
    from mamtra.synthesis.model import Model


class TorchHearing:
    """See `mamtra.synthesis.reference.Hearing`.

    Args:
        model: whose speech tokenizer and speaker encoder are asked, on its device.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @torch.inference_mode()
    def tokenize(self, wave: np.ndarray) -> np.ndarray:
        """Speech tokens."""
        return self._model.speech_tokenizer.tokenize(self._there(wave)).cpu().numpy()

    @torch.inference_mode()
    def mel(self, wave: np.ndarray) -> np.ndarray:
        """Log mel."""
        return mel_24k(self._there(wave)[None], self._model.mel_high)[0].cpu().numpy()

    @torch.inference_mode()
    def fbank(self, wave: np.ndarray) -> np.ndarray:
        """Log filter bank."""
        return kaldi_fbank_80(self._there(wave)).cpu().numpy()

    @torch.inference_mode()
    def embed(self, fbanks: np.ndarray) -> np.ndarray:
        """Speaker embeddings."""
        return self._model.speaker_encoder(self._there(fbanks)).float().cpu().numpy()

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._model.device)
