"""Export a language model as the llm.pt of CosyVoice 2 or 3."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from mamtra.checkpoints.cosyvoice.third_lm import BIAS, original_state
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_file, check_destination


def export_llm(model: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the speech LM of a model as CosyVoice 2 or 3 stores it; a model converted at 1:0 comes back bit for bit.

    Args:
        model: a model directory or name; all its layers are attention.
        path: file to make, such as ``llm.pt``.

    Raises:
        MamTraError: it has no speech LM, or has Mamba layers or (for CosyVoice 3) a bias of the head, which the original does not
            support; or the file exists or cannot be written.
    """
    stored, path = open_language_model(model), Path(path)
    if stored.section != "lm":
        raise MamTraError(f"{stored.directory} has no speech language model; CosyVoice cannot use it.")
    mixed = stored.config.plan.mamba_layers
    if mixed:
        raise MamTraError(
            f"{stored.directory} has {len(mixed)} Mamba layers, which CosyVoice does not support; export a 1:0 model."
        )
    if path.exists():
        raise MamTraError(f"{path} exists already; name another file, or remove it first.")
    check_destination(path)
    tables = {name: stored.read(name).clone() for name in stored.names}
    if stored.config.end_target != stored.config.eos_id:
        if tables[BIAS].any():
            raise MamTraError(f"{stored.directory} has a trained bias of its head, which CosyVoice 3 has no place for.")
        tables = original_state(tables)
    state: dict[str, Tensor] = {}
    for name, tensor in tables.items():
        state[f"llm.model.{name}" if name.startswith("model.") else name] = tensor
    # tied in the original, whose file has it under both names
    state["llm.model.lm_head.weight"] = state["llm.model.model.embed_tokens.weight"]
    with atomic_file(path, stored.bytes) as partial, partial.open("wb") as file:
        torch.save(state, file)
    return path
