"""What a model directory says of its own making."""

from __future__ import annotations

from pathlib import Path

from mamtra.checkpoints.native import PROVENANCE
from mamtra.runtime.json_files import read_json


def needs_distillation(directory: Path) -> bool:
    """Whether a model was converted from attention to Mamba and has not been trained since: it babbles.

    Raises:
        MamTraError: provenance.json is damaged.
    """
    path = directory / PROVENANCE
    made = read_json(path) if path.is_file() else {}
    plan = made.get("plan")
    kinds = plan.get("layer_types", ()) if isinstance(plan, dict) else ()
    mamba = isinstance(kinds, list) and "linear_attention" in kinds
    return mamba and "conversion" in made and "distillation" not in made
