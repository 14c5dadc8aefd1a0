"""Read the file written by a training run, or a model directory: its network; and the metadata of such a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mamtra.checkpoints.native import load_part
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.strict_loading import load_strictly


def read_metadata(path: Path) -> dict[str, Any]:
    """The parsed metadata of a training run."""
    with safe_open(path, "pt") as file:
        return {name: _parsed(text) for name, text in sorted((file.metadata() or {}).items())}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_network(path: Path, section: str) -> nn.Module:
    """The network of a training run's file as it was trained, or that of a model directory, in eval mode and without gradients."""
    if path.is_dir():
        return load_part(path, section)
    part = replace(PARTS[section], weight_norm=False)  # it is kept in training
    return load_strictly(part.build(part.parse(read_metadata(path)["config"])), load_file(path), str(path))
