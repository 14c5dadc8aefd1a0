"""What a voice takes from a recording: speech tokens, mel and speaker embedding."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from mamtra.audio.features import kaldi_fbank_80, mel_24k
from mamtra.audio.io import resample
from mamtra.audio.noise_gate import gate_noise
from mamtra.audio.sinc_resample import sinc_resample
from mamtra.synthesis.cloning import check_reference
from mamtra.synthesis.speaker_change import advise_on_speakers

if TYPE_CHECKING:
    from mamtra.synthesis.model import Model


@torch.inference_mode()
def encode_reference(
    model: Model, wave: np.ndarray, rate: int, *, gate: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
    """What a voice takes from samples (T,), on the CPU.

    Tokens and mel are cut to the shorter of the two at two frames a token, as CosyVoice 2 aligns its prompts.

    Args:
        gate: take noise out of what the speaker encoder hears, and look for a second speaker; CosyVoice 2 does neither.

    Returns:
        Speech tokens int64 (N,), mel float32 (2N, 80), speaker embedding float32 (E,), and advice on the speakers.
    """
    device = model.device
    convert = sinc_resample if model.generation.like_original else resample
    wave16 = torch.from_numpy(np.ascontiguousarray(convert(wave, rate, 16000))).to(device)
    wave24 = torch.from_numpy(np.ascontiguousarray(convert(wave, rate, 24000))).to(device)
    tokens = model.speech_tokenizer.tokenize(wave16)
    mel = mel_24k(wave24[None], model.mel_high)[0].T
    count = min(tokens.numel(), mel.shape[0] // 2)
    fbank, encoder = kaldi_fbank_80(wave16), model.speaker_encoder
    fbank = gate_noise(fbank) if gate else fbank
    advice = advise_on_speakers(fbank, encoder) if gate else []
    return tokens[:count].cpu(), mel[: 2 * count].float().cpu(), embed_speaker(fbank, encoder), advice


def embed_speaker(fbank: torch.Tensor, encoder: nn.Module) -> torch.Tensor:
    """Speaker embedding float32 (E,) on the CPU of a filter bank (F, 80)."""
    return encoder((fbank - fbank.mean(dim=0, keepdim=True))[None])[0].float().cpu()


def read_tokens(model: Model, path: str | os.PathLike) -> list[int]:
    """Speech tokens of what is said in a recording.

    Raises:
        MamTraError: it is unreadable, too long, silent or of a low sample rate, or the model has no speech tokenizer.
    """
    wave, rate = check_reference(path, trim=False)
    convert = sinc_resample if model.generation.like_original else resample
    samples = np.ascontiguousarray(convert(wave, rate, 16000))
    with torch.inference_mode():
        return model.speech_tokenizer.tokenize(torch.from_numpy(samples).to(model.device)).tolist()
