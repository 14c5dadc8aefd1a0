"""Export a language model as CosyVoice 2's llm.pt."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from mamtra.checkpoints.open_lm import open_language_model
from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_file, check_destination


def export_llm(model: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the speech LM of a model as CosyVoice 2 stores it; a model converted at 1:0 comes back bit for bit.

    Args:
        model: a model directory or name; all its layers are attention.
        path: file to make, such as ``llm.pt``.

    Raises:
        MamTraError: it has no speech LM, or has Mamba layers, which CosyVoice 2 does not support; or the file exists or
            cannot be written.
    """
    stored, path = open_language_model(model), Path(path)
    if stored.section != "lm":
        raise MamTraError(f"{stored.directory} has no speech language model; CosyVoice 2 cannot use it.")
    mixed = stored.config.plan.mamba_layers
    if mixed:
        raise MamTraError(
            f"{stored.directory} has {len(mixed)} Mamba layers, which CosyVoice 2 does not support; export a 1:0 model."
        )
    if path.exists():
        raise MamTraError(f"{path} exists already; name another file, or remove it first.")
    check_destination(path)
    state: dict[str, Tensor] = {}
    for name in stored.names:
        state[f"llm.model.{name}" if name.startswith("model.") else name] = stored.read(name).clone()
    # tied in the original, whose file has it under both names
    state["llm.model.lm_head.weight"] = state["llm.model.model.embed_tokens.weight"]
    with atomic_file(path, stored.bytes) as partial, partial.open("wb") as file:
        torch.save(state, file)
    return path
