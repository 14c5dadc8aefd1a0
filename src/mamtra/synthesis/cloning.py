"""Cloning: from a recording of a speaker to a voice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.audio.io import read_audio, resample
from mamtra.audio.sinc_resample import sinc_resample
from mamtra.audio.trim import trim_edges
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.text.bpe import BpeFrontend
from mamtra.voices.info import VoiceInfo, check_name
from mamtra.voices.voice import Voice

MIN_RATE = 16000
MIN_SECONDS = 1.0
MAX_SECONDS = 30.0
SILENT = 10 ** (-60 / 20)


def clone_voice(path: str | os.PathLike, model: Model, text: str | None = None, **info: Any) -> Voice:
    """Make a voice from a recording.

    With a transcript the LM continues the recording and so takes over rhythm and manner too. Without one, or where the model's
    generation settings have `continue_clones` off, only the timbre is taken over.

    Args:
        path: an audio file, 16 kHz or more, with 1 to 30 s of one person speaking.
        model: the model that is to speak with the voice.
        text: what is said in the recording, word for word.
        **info: fields of `VoiceInfo`; the name is the file's by default.

    Raises:
        MamTraError: the recording is unreadable, too short, too long, silent or of a low sample rate, or the model lacks the parts
            for cloning.
    """
    unknown = info.keys() - VoiceInfo.model_fields.keys()
    if unknown:
        raise MamTraError(f"A voice has no {min(unknown)!r}; it has {', '.join(VoiceInfo.model_fields)}.")
    wave, rate = check_reference(path, trim=not model.generation.like_original)
    name = info.pop("name", None) or _name_from(path)
    continued = model.generation.continue_clones
    text_ids = _text_ids(model, text if continued else None)
    with torch.inference_mode():
        prompt_speech, prompt_mel, embedding = encode_reference(model, wave, rate)
    header = VoiceInfo(name=name, voice_space=model.voice_space, **{"source": Path(path).name, **info})
    return Voice(
        header, text_ids, prompt_speech, prompt_mel, embedding, advice=tuple(advise(wave, rate, text, continued))
    )


def check_reference(path: str | os.PathLike, trim: bool = True) -> tuple[np.ndarray, int]:
    """Read a recording to clone from and refuse one that cannot serve.

    Args:
        path: see `clone_voice`.
        trim: cut the silence at both ends down to 0.1 s, and refuse less than a second; CosyVoice 2 does neither.

    Returns:
        float32 samples (T,) and their rate in Hz.

    Raises:
        MamTraError: see `clone_voice`.
    """
    wave, rate = read_audio(path)
    if rate < MIN_RATE:
        raise MamTraError(f"{path} has a sample rate of {rate} Hz; a recording of {MIN_RATE} Hz or more is needed.")
    seconds = len(wave) / rate
    if trim and seconds < MIN_SECONDS:
        raise MamTraError(f"{path} is {seconds:.1f} s long; a voice needs {MIN_SECONDS:.0f} s or more, better 5 to 10.")
    if seconds > MAX_SECONDS:
        raise MamTraError(f"{path} is {seconds:.0f} s long; cut out at most {MAX_SECONDS:.0f} s, best 5 to 10 s.")
    if np.abs(wave).max() < SILENT:
        raise MamTraError(f"{path} is silent; record someone speaking.")
    if not trim:
        return wave, rate
    trimmed = trim_edges(wave, rate, keep=0.1)
    if len(trimmed) < MIN_SECONDS * rate:
        left = len(trimmed) / rate
        raise MamTraError(f"Only {left:.1f} s of {path} are not silence; a voice needs at least {MIN_SECONDS:.0f} s.")
    return trimmed, rate


def advise(wave: np.ndarray, rate: int, text: str | None, continued: bool = True) -> list[str]:
    """Sentences on what would make a better voice of samples (T,); none where nothing stands out."""
    advice = []
    seconds = len(wave) / rate
    if seconds < 3:
        advice.append(f"The recording holds {seconds:.1f} s of sound; 5 to 10 s give a closer voice.")
    if np.mean(np.abs(wave) > 0.985) > 1e-3:
        advice.append("The recording is clipped; record it at a lower level.")
    hop = rate // 50
    power = np.square(wave[: len(wave) // hop * hop].reshape(-1, hop)).mean(axis=1) + 1e-12
    snr = 10 * np.log10(np.percentile(power, 95) / np.percentile(power, 5))
    if snr < 20:
        advice.append(f"Speech is only about {snr:.0f} dB above the background; a quieter room gives a cleaner voice.")
    if not continued:
        if text is not None:
            advice.append("This model takes over the sound of a voice only; the transcript is not used.")
    elif text is None:
        advice.append("No transcript was given; with one the voice also takes over rhythm and manner.")
    elif not 4 <= len(text.strip()) / seconds <= 30:
        advice.append("The transcript seems too long or too short for the recording; write each word that is said.")
    return advice


def encode_reference(model: Model, wave: np.ndarray, rate: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Speech tokens int64 (N,), mel float32 (2N, 80) and speaker embedding float32 (E,) of samples (T,), on the CPU.

    Tokens and mel are cut to the shorter of the two at two frames a token, as CosyVoice 2 aligns its prompts.
    """
    from mamtra.audio.features import kaldi_fbank_80, mel_24k

    device = model.device
    convert = sinc_resample if model.generation.like_original else resample
    wave16 = torch.from_numpy(np.ascontiguousarray(convert(wave, rate, 16000))).to(device)
    wave24 = torch.from_numpy(np.ascontiguousarray(convert(wave, rate, 24000))).to(device)
    tokens = model.speech_tokenizer.tokenize(wave16)
    mel = mel_24k(wave24[None])[0].T
    fbank = kaldi_fbank_80(wave16)
    embedding = model.speaker_encoder((fbank - fbank.mean(dim=0, keepdim=True))[None])[0]
    count = min(tokens.numel(), mel.shape[0] // 2)
    return tokens[:count].cpu(), mel[: 2 * count].float().cpu(), embedding.float().cpu()


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


def _text_ids(model: Model, text: str | None) -> torch.Tensor:
    if text is None:
        return torch.zeros(0, dtype=torch.int64)
    if isinstance(model.text, BpeFrontend) and model.generation.like_original:
        return torch.tensor(model.text.transcript(text), dtype=torch.int64)
    return torch.tensor([i for segment in model.text.segments(text) for i in segment.ids], dtype=torch.int64)


def _name_from(path: str | os.PathLike) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in Path(path).stem)
    return check_name(kept.strip("-_.")[:64] or "voice")
