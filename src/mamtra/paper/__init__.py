"""Tables and figures of the MamTra paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.paper.api import STUDIES, reproduce
    from mamtra.paper.settings import ExperimentSettings, read_experiments

__all__ = ["STUDIES", "ExperimentSettings", "read_experiments", "reproduce"]

__getattr__ = lazy_names(
    __name__,
    {
        "STUDIES": "mamtra.paper.api",
        "ExperimentSettings": "mamtra.paper.settings",
        "read_experiments": "mamtra.paper.settings",
        "reproduce": "mamtra.paper.api",
    },
)
