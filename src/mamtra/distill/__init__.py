"""Distillation of hybrid students from a Transformer teacher, and of flows to few steps."""

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.distill.api import Distilled, distill, open_trainer
    from mamtra.distill.config import DistillConfig, parse_config, read_config
    from mamtra.distill.dry_run import estimate
    from mamtra.distill.flow_settings import FlowDistillConfig
    from mamtra.distill.flow_trainer import DistilledFlow, distill_flow

__all__ = [
    "DistillConfig",
    "Distilled",
    "DistilledFlow",
    "FlowDistillConfig",
    "distill",
    "distill_flow",
    "estimate",
    "open_trainer",
    "parse_config",
    "read_config",
]

__getattr__ = lazy_names(
    __name__,
    {
        "DistillConfig": "mamtra.distill.config",
        "Distilled": "mamtra.distill.api",
        "DistilledFlow": "mamtra.distill.flow_trainer",
        "FlowDistillConfig": "mamtra.distill.flow_settings",
        "distill": "mamtra.distill.api",
        "distill_flow": "mamtra.distill.flow_trainer",
        "estimate": "mamtra.distill.dry_run",
        "open_trainer": "mamtra.distill.api",
        "parse_config": "mamtra.distill.config",
        "read_config": "mamtra.distill.config",
    },
)
