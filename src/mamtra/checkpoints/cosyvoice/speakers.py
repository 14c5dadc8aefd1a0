"""Preset speakers of a CosyVoice 2 directory: spk2info.pt, tensors by name of the speaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamtra.checkpoints.pickles import load_pickle
from mamtra.errors import MamTraError

SPEAKERS = "spk2info.pt"


def read_speakers(directory: Path) -> dict[str, dict[str, Tensor]]:
    """The prompts of all preset speakers; none where the directory has no such file.

    A speaker of whom only the embedding is stored gets an empty prompt.

    Returns:
        by name: prompt_text int64 (T,), prompt_speech int64 (N,), prompt_mel float32 (2N, 80), embedding float32 (E,).

    Raises:
        MamTraError: the file is damaged or holds more than tensors.
    """
    path = directory / SPEAKERS
    if not path.is_file():
        return {}
    found = load_pickle(path)
    if not all(isinstance(entry, dict) for entry in found.values()):
        raise MamTraError(f"{path} should hold the tensors of speakers by their names; get the model again.")
    return {str(name): _prompt(path, str(name), entry) for name, entry in sorted(found.items(), key=str)}


def _prompt(path: Path, name: str, entry: dict[str, Any]) -> dict[str, Tensor]:
    embedding = entry.get("flow_embedding", entry.get("embedding"))
    if not isinstance(embedding, Tensor):
        raise MamTraError(f"{path} has no embedding of the speaker {name!r}; get the model again.")
    nothing = torch.zeros(0, dtype=torch.int64)
    text, speech = entry.get("prompt_text", nothing), entry.get("flow_prompt_speech_token", nothing)
    mel = entry.get("prompt_speech_feat", torch.zeros(0, 80))
    if not all(isinstance(value, Tensor) for value in (text, speech, mel)):
        raise MamTraError(f"{path} holds something else than tensors of the speaker {name!r}; get the model again.")
    if mel.dim() < 2 or mel.shape[-1] != 80 or not (torch.isfinite(mel).all() and torch.isfinite(embedding).all()):
        raise MamTraError(f"{path} has a damaged mel or embedding of the speaker {name!r}; get the model again.")
    mel = mel.float().reshape(-1, 80)
    count = min(speech.numel(), len(mel) // 2)
    return {
        "prompt_text": text.long().flatten(),
        "prompt_speech": speech.long().flatten()[:count],
        "prompt_mel": mel[: 2 * count],
        "embedding": embedding.float().flatten(),
    }
