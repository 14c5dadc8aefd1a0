"""Cloning: from a recording of a speaker to a voice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mamtra.audio.io import read_audio
from mamtra.audio.speech_level import normalise_level, shorten_pauses
from mamtra.audio.trim import trim_edges
from mamtra.checkpoints.cosyvoice.files import VOICE_SPACES
from mamtra.errors import MamTraError
from mamtra.synthesis.advice import advise
from mamtra.synthesis.reference import encode_reference, resampled
from mamtra.voices.info import VoiceInfo, check_name
from mamtra.voices.voice import Voice

if TYPE_CHECKING:
    from mamtra.synthesis.model import Model

MIN_RATE = 16000
MIN_SECONDS = 1.0
MAX_SECONDS = 30.0
READ_SECONDS = 600.0
"""Longer files are refused by their header; up to here the message says how long they are."""
SILENT = 10 ** (-60 / 20)


def clone_voice(path: str | os.PathLike, model: Model, text: str | None = None, **info: Any) -> Voice:
    """Make a voice from a recording.

    With a transcript the LM continues the recording and so takes over rhythm and manner too. Without one, or where the model's
    generation settings have `continue_clones` off, only the timbre is taken over.

    For the models of this package the level is normalised and pauses longer than 0.3 s are shortened. CosyVoice 2 gets the
    recording as it is, as in the original.

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
    advice = advise(wave, rate, text, continued)
    original = model.voice_space in VOICE_SPACES
    if not original:
        wave = prepare_reference(wave, rate)
    like_original = model.generation.like_original
    *heard, more = encode_reference(model.hearing, wave, rate, original=like_original, advise=not original)
    header = VoiceInfo(name=name, voice_space=model.voice_space, **{"source": Path(path).name, **info})
    return Voice(header, text_ids, *heard, advice=tuple(advice + more)).to(model.arrays)


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
    wave, rate = read_audio(path, max_seconds=READ_SECONDS)
    if rate < MIN_RATE:
        raise MamTraError(f"{path} has a sample rate of {rate} Hz; a recording of {MIN_RATE} Hz or more is needed.")
    seconds = len(wave) / rate
    if trim and seconds < MIN_SECONDS:
        raise MamTraError(f"{path} is {seconds:.1f} s long; a voice needs {MIN_SECONDS:.0f} s or more, better 5 to 10.")
    if seconds > MAX_SECONDS:
        raise MamTraError(f"{path} is {seconds:.0f} s long; cut out at most {MAX_SECONDS:.0f} s, best 5 to 10 s.")
    if np.ptp(wave) < 2 * SILENT:  # a constant is no sound
        raise MamTraError(f"{path} is silent; record someone speaking.")
    if not trim:
        return wave, rate
    trimmed = trim_edges(wave, rate, keep=0.1)
    if len(trimmed) < MIN_SECONDS * rate:
        left = len(trimmed) / rate
        raise MamTraError(f"Only {left:.1f} s of {path} are not silence; a voice needs at least {MIN_SECONDS:.0f} s.")
    return trimmed, rate


def read_tokens(path: str | os.PathLike, model: Model) -> list[int]:
    """Speech tokens of what is said in a recording.

    Raises:
        MamTraError: it is unreadable, too long, silent or of a low sample rate, or the model has no speech tokenizer.
    """
    wave, rate = check_reference(path, trim=False)
    return model.hearing.tokenize(resampled(wave, rate, 16000, model.generation.like_original)).tolist()


def prepare_reference(wave: np.ndarray, rate: int) -> np.ndarray:
    """Samples (T,) float32 at the level of the training speech, without long pauses."""
    return normalise_level(shorten_pauses(wave, rate), rate)


def _text_ids(model: Model, text: str | None) -> np.ndarray:
    """Text ids (T,) int64."""
    if text is None:
        return np.zeros(0, np.int64)
    if model.text.reads_letters and model.generation.like_original:
        return np.array(model.text.transcript(text), np.int64)
    return np.array([i for segment in model.text.segments(text) for i in segment.ids], np.int64)


def _name_from(path: str | os.PathLike) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in Path(path).stem)
    return check_name(kept.strip("-_.")[:64] or "voice")
