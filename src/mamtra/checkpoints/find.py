"""From the name of a model to its directory."""

from __future__ import annotations

import os
from pathlib import Path

from mamtra.checkpoints.pull import HUB_NAME, PATTERNS, snapshot
from mamtra.errors import MamTraError

BUILT_IN = "mini"
FAST = "mini-fast"
"""The built-in model with a flow of few steps."""
ASSETS = Path(__file__).resolve().parents[1] / "assets"


def built_in_models() -> dict[str, Path]:
    """Models that came with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(ASSETS.glob("*/config.json"))}


def find_model(name: str | os.PathLike | None = None) -> Path:
    """Directory of a model.

    Args:
        name: a directory, the name of a built-in model, or `owner/name` on the Hugging Face hub; `None` is "mini".

    Raises:
        MamTraError: there is no such model.
    """
    models = built_in_models()
    text = BUILT_IN if name is None else os.fspath(name)
    if text in models:
        return models[text]
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        return path
    if HUB_NAME.fullmatch(text) and not path.exists():
        return _from_hub(text)
    have = ", ".join(models) or "none in this installation"
    raise MamTraError(f"There is no model {text!r}; give a model directory or a built-in name ({have}).")


def _from_hub(name: str) -> Path:
    if ".." in name:
        raise MamTraError(f"{name!r} is no name of a model; models on the Hugging Face hub are called OWNER/NAME.")
    try:
        return snapshot(name, PATTERNS)
    except MamTraError:
        raise
    except Exception as error:
        raise MamTraError(
            f"The model {name!r} is neither a directory nor available from the Hugging Face hub."
        ) from error
