"""Libraries that only some features need: imported when used, and one sentence where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from mamtra.errors import MamTraError


def need(module: str, purpose: str, install: str = "'mamtra[eval]'") -> Any:
    """Import an optional library.

    Args:
        module: what is imported, such as ``scipy.stats``.
        purpose: the feature that needs it, in the singular, to begin a sentence.
        install: what pip is to install.

    Returns:
        The module.

    Raises:
        MamTraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0].replace("_", "-")
        raise MamTraError(f"{purpose} needs {name}; pip install {install}.") from error


def torch_is_missing(error: Exception) -> MamTraError | None:
    """The sentence for an error because of torch, or what comes with it, not being installed; None for any other error."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in ("torch", "yaml"):
        return None
    return MamTraError(f"This needs {name}, which is not installed; pip install 'mamtra[torch]'.")
