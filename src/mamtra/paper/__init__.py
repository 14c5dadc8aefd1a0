"""Tables and figures of the MamTra paper."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamtra.paper.api import STUDIES, reproduce
    from mamtra.paper.settings import ExperimentSettings, read_experiments

__all__ = ["STUDIES", "ExperimentSettings", "read_experiments", "reproduce"]

_HOME = {
    "STUDIES": "mamtra.paper.api",
    "ExperimentSettings": "mamtra.paper.settings",
    "read_experiments": "mamtra.paper.settings",
    "reproduce": "mamtra.paper.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
