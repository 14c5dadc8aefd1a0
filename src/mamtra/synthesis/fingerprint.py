"""Hashes of what decides how a model sounds: its weights and its voice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mamtra.checkpoints.model_files import base_of
from mamtra.checkpoints.parts import PARTS
from mamtra.runtime.files import hash_files
from mamtra.voices.voice import Voice

if TYPE_CHECKING:
    from mamtra.synthesis.model import Model


def hash_parts(model: Model) -> dict[str, str]:
    """SHA-256 of the weights of every part, by section; those of the base where the model has one.

    Of a CosyVoice 2 directory: language model, flow and vocoder. Of a model that is computed without torch the files are hashed,
    with that of the base where tensors are taken from it, so its hashes are others: its samples are not the same to the bit either.
    """
    directory = model.directory
    if model.arrays == "numpy":
        own = (section for section in PARTS if section in model.config)
        return {section: hash_files(*model.weights(section).files) for section in own}
    from mamtra.checkpoints.cosyvoice.files import VOCODER, find_flow
    from mamtra.checkpoints.native import hash_model
    from mamtra.checkpoints.open_lm import open_language_model
    from mamtra.checkpoints.tensor_files import hash_tensors
    from mamtra.synthesis.cosyvoice_model import CosyVoiceModel

    if isinstance(model, CosyVoiceModel):
        files = {"flow": find_flow(directory), "vocoder": directory / VOCODER}
        hashes = {section: hash_files(path) for section, path in files.items()}
        return {"lm": hash_tensors(open_language_model(directory).source), **hashes}
    base = base_of(directory)
    return {**(hash_model(base) if base else {}), **hash_model(directory)}


def hash_voice(voice: Voice) -> str:
    """SHA-256 of a voice's arrays, first 16 digits."""
    digest, own = hashlib.sha256(), voice.to("numpy")
    for array in (own.prompt_text, own.prompt_speech, own.prompt_mel, own.embedding):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
