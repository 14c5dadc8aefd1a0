"""Hashes of what decides how a model sounds: its weights and its voice."""

from __future__ import annotations

import hashlib

from mamtra.checkpoints.cosyvoice.files import VOCODER, find_flow
from mamtra.checkpoints.model_files import base_of
from mamtra.checkpoints.native import hash_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.tensor_files import hash_tensors
from mamtra.runtime.files import hash_files
from mamtra.synthesis.cosyvoice_model import CosyVoiceModel
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice


def hash_parts(model: Model) -> dict[str, str]:
    """SHA-256 of the weights of every part, by section; those of the base where the model has one.

    Of a CosyVoice 2 directory: language model, flow and vocoder.
    """
    directory = model.directory
    if isinstance(model, CosyVoiceModel):
        files = {"flow": find_flow(directory), "vocoder": directory / VOCODER}
        hashes = {section: hash_files(path) for section, path in files.items()}
        return {"lm": hash_tensors(open_language_model(directory).source), **hashes}
    base = base_of(directory)
    return {**(hash_model(base) if base else {}), **hash_model(directory)}


def hash_voice(voice: Voice) -> str:
    """SHA-256 of a voice's tensors, first 16 digits."""
    digest = hashlib.sha256()
    for tensor in (voice.prompt_text, voice.prompt_speech, voice.prompt_mel, voice.embedding):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
