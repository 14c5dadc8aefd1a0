"""A run: one training, named by a digest of everything its result depends on, so that studies share equal runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamtra.distill.config import DistillConfig, parse_config
from mamtra.errors import MamTraError
from mamtra.models.plan import IMPORTANCE
from mamtra.paper.settings import EvaluationSettings, ExperimentSettings


@dataclass(frozen=True)
class Run:
    """One student, or an existing model that is only evaluated.

    Attributes:
        name: of its folder; equal settings give equal names.
        config: of its training, `out` left open; None for an existing model.
        model: directory of an existing model.
        reference: training configuration with the validation set of an existing model.
        seed: of the synthesis.
        evaluation: test set and scorers; None for the cross entropy alone.
    """

    name: str
    config: dict[str, Any] | None
    model: str | None = None
    reference: dict[str, Any] | None = None
    seed: int = 0
    evaluation: EvaluationSettings | None = None

    def training(self, folder: Path) -> DistillConfig:
        """Settings of the training in a folder, or those for validating an existing model."""
        return parse_config({**(self.config or self.reference or {}), "out": str(folder / "training")}, self.name)


def student_run(
    settings: ExperimentSettings,
    strategy: str,
    ratio: str,
    *,
    seed: int = 0,
    transfer: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    evaluation: EvaluationSettings | None = None,
) -> Run:
    """A student with a plan.

    Args:
        settings: of the experiments.
        strategy: of the plan.
        ratio: attention to Mamba.
        seed: of the conversion, the order of the data and the synthesis; the fraction of the data does not depend on it.
        transfer: options of the conversion.
        changes: of the training, by dotted key.
        evaluation: instead of that of the experiments.

    Raises:
        MamTraError: a setting is unknown or of the wrong kind, or a ranking is missing.
    """
    content = deepcopy(settings.distill)
    for key, value in (changes or {}).items():
        _set(content, key, value)
    _set(content, "run.seed", seed)
    content["student"] = {
        "ratio": ratio,
        "strategy": strategy,
        "seed": seed,
        "transfer": {**settings.transfer, **(transfer or {})},
    }
    if strategy in IMPORTANCE:
        if strategy not in settings.rankings:
            raise MamTraError(f"{strategy} needs a ranking; make one with `mamtra rank` and name it in rankings.")
        content["student"]["ranking"] = settings.rankings[strategy]
    checked = parse_config({**content, "out": "."}, "the experiments' training").fingerprint()
    evaluation = evaluation or settings.evaluation
    name = f"{strategy}-{ratio.replace(':', '-')}-{_digest(checked, _evaluation_key(evaluation))}"
    return Run(name, content, seed=seed, evaluation=evaluation)


def model_run(
    settings: ExperimentSettings, directory: str, seed: int = 0, *, evaluation: EvaluationSettings | None = None
) -> Run:
    """An existing model, evaluated like the students; arguments as for `student_run`."""
    reference = {**deepcopy(settings.distill), "student": {"ratio": "1:0"}}
    checked = parse_config({**reference, "out": "."}, "the experiments' training").fingerprint()
    evaluation = evaluation or settings.evaluation
    name = f"{Path(directory).resolve().name}-{_digest(directory, checked, _evaluation_key(evaluation), seed)}"
    return Run(name, None, directory, reference, seed, evaluation)


def teacher_run(settings: ExperimentSettings, seed: int = 0, *, evaluation: EvaluationSettings | None = None) -> Run:
    """The teacher; arguments as for `student_run`.

    Raises:
        MamTraError: the settings name none.
    """
    try:
        return model_run(settings, settings.distill["teacher"]["model"], seed, evaluation=evaluation)
    except (KeyError, TypeError) as error:
        raise MamTraError("The experiments need distill.teacher.model.") from error


def _evaluation_key(evaluation: EvaluationSettings | None) -> dict[str, Any]:
    return evaluation.model_dump(mode="json", exclude={"batch_size"}) if evaluation else {}


def _digest(*decides: Any) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {})
    content[last] = value
