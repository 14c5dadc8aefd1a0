"""A cell: one training, named by all that decides its result, so that studies which need the same one share it."""

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
from mamtra.paper.settings import ExperimentSettings, ListenSettings


@dataclass(frozen=True)
class Cell:
    """One student, or a model that is measured as it is.

    Attributes:
        name: of its folder; equal settings give equal names.
        config: of its training, `out` left open; None for a model as it is.
        model: its directory, where nothing is trained.
        held: training configuration whose held-out utterances a model as it is is measured on.
        seed: of what it says.
        listen: what it says and who listens; None measures its cross entropy alone.
    """

    name: str
    config: dict[str, Any] | None
    model: str | None = None
    held: dict[str, Any] | None = None
    seed: int = 0
    listen: ListenSettings | None = None

    def training(self, folder: Path) -> DistillConfig:
        """Settings of the training in a folder, or those that a model as it is is measured by."""
        return parse_config({**(self.config or self.held or {}), "out": str(folder / "training")}, self.name)


def student_cell(
    settings: ExperimentSettings,
    strategy: str,
    ratio: str,
    *,
    seed: int = 0,
    transfer: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    listen: ListenSettings | None = None,
) -> Cell:
    """A student with a plan.

    Args:
        settings: of the experiments.
        strategy: of the plan.
        ratio: attention to Mamba.
        seed: of the conversion, of the order of the data and of the speech; the data themselves stay the same.
        transfer: options of the conversion.
        changes: of the training, by dotted key.
        listen: instead of that of the experiments.

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
    checked = parse_config({**content, "out": "."}, "the experiments' training").what_decides()
    listen = listen or settings.listen
    name = f"{strategy}-{ratio.replace(':', '-')}-{_digest(checked, _heard(listen))}"
    return Cell(name, content, seed=seed, listen=listen)


def model_cell(
    settings: ExperimentSettings, directory: str, seed: int = 0, *, listen: ListenSettings | None = None
) -> Cell:
    """A model as it is, measured like the students; arguments as for `student_cell`."""
    held = {**deepcopy(settings.distill), "student": {"ratio": "1:0"}}
    checked = parse_config({**held, "out": "."}, "the experiments' training").what_decides()
    listen = listen or settings.listen
    name = f"{Path(directory).resolve().name}-{_digest(directory, checked, _heard(listen), seed)}"
    return Cell(name, None, directory, held, seed, listen)


def teacher_cell(settings: ExperimentSettings, seed: int = 0, *, listen: ListenSettings | None = None) -> Cell:
    """The teacher; arguments as for `student_cell`.

    Raises:
        MamTraError: the settings name none.
    """
    try:
        return model_cell(settings, settings.distill["teacher"]["model"], seed, listen=listen)
    except (KeyError, TypeError) as error:
        raise MamTraError("The experiments need distill.teacher.model.") from error


def cells_of(groups: Mapping[Any, list[Cell]]) -> list[Cell]:
    """All cells of some groups."""
    return [cell for members in groups.values() for cell in members]


def _heard(listen: ListenSettings | None) -> dict[str, Any]:
    return listen.model_dump(mode="json", exclude={"rows"}) if listen else {}


def _digest(*decides: Any) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {})
    content[last] = value
