"""Settings of a distillation: a YAML file, read strictly, with dotted changes from the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from mamtra.distill.losses import DistillLossConfig
from mamtra.distill.settings import (
    AlignmentSettings,
    BatchSettings,
    DataSettings,
    OnPolicySettings,
    OptimizerSettings,
    RunSettings,
    Strict,
    StudentSettings,
    TeacherSettings,
)  # fmt: skip
from mamtra.errors import MamTraError, first_problem


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2: 1:3 is a word here, not 63, and 2e-5 a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?\d+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


class DistillConfig(Strict):
    """A whole training.

    Attributes:
        out: directory of checkpoints, log and the trained student.
        teacher: who teaches.
        student: who learns.
        data: what is learnt.
        losses: what is added up.
        batch: what one step sees.
        optimizer: how weights move.
        alignment: stages before.
        on_policy: learning on the student's own speech.
        run: how long, where and how.
    """

    out: str
    teacher: TeacherSettings
    student: StudentSettings
    data: DataSettings
    losses: DistillLossConfig = DistillLossConfig()
    batch: BatchSettings = BatchSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    on_policy: OnPolicySettings = OnPolicySettings()
    run: RunSettings

    @model_validator(mode="after")
    def _somebody_teaches(self) -> DistillConfig:
        if self.on_policy.share and not (self.losses.logits_weight or self.losses.emb_weight):
            raise ValueError(
                "on_policy needs losses.logits_weight or losses.emb_weight: its speech is no truth to learn"
            )
        return self

    @model_validator(mode="after")
    def _cache_fits(self) -> DistillConfig:
        if self.teacher.cache is not None:
            if self.batch.layout != "unistream" or self.batch.join or self.batch.disturbed:
                raise ValueError("teacher.cache needs batch.layout unistream, batch.join 0 and batch.disturbed 0")
            if self.losses.emb_weight and self.losses.emb_target != "embedding":
                raise ValueError(
                    "teacher.cache holds logits only: set losses.emb_weight to 0 or emb_target to embedding"
                )
        return self

    @model_validator(mode="after")
    def _can_be_split(self) -> DistillConfig:
        if self.run.parallel == "fsdp":
            if self.run.cuda_graph:
                raise ValueError("run.parallel fsdp gathers weights in every step, which no graph records: set "
                                 "run.cuda_graph to false")  # fmt: skip
            if self.run.compile:
                raise ValueError("run.parallel fsdp is not tried with compiled layers: set run.compile to false")
            if self.alignment.matrix_steps or self.alignment.hidden_steps:
                raise ValueError("alignment needs whole layers: run it with run.parallel ddp first, or leave it out")
        return self

    def what_decides(self) -> dict[str, Any]:
        """The settings that the weights depend on; a training may go on with others changed."""
        content = self.model_dump(mode="json")
        content.pop("out")
        kept = ("steps", "epochs", "minutes", "seed", "precision", "residual")
        content["run"] = {name: content["run"][name] for name in kept}
        content["data"].pop("verify")
        return content


def read_config(path: str | os.PathLike, changes: Iterable[str] = ()) -> DistillConfig:
    """Read a YAML file.

    Args:
        path: of the file.
        changes: ``key=value`` with dotted keys, such as ``optimizer.lr=2e-5``; values are YAML.

    Raises:
        MamTraError: the file is missing or is not YAML, or a setting is unknown, missing or of the wrong kind.
    """
    path = Path(path)
    content = read_yaml(path)
    for change in changes:
        change_setting(content, change)
    return parse_config(content, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Settings as they stand in a YAML file.

    Raises:
        MamTraError: the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise MamTraError(f"There is no configuration {path}; name a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MamTraError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise MamTraError(f"{path} should hold settings, KEY: VALUE a line.")
    return content


def parse_config(content: dict[str, Any], where: str = "the configuration") -> DistillConfig:
    """Settings from a nested dictionary.

    Raises:
        MamTraError: a setting is unknown, missing or of the wrong kind.
    """
    try:
        return DistillConfig.model_validate(content)
    except ValidationError as error:
        unknown = next((found for found in error.errors() if found["type"] == "extra_forbidden"), None)
        if unknown is not None:
            key = ".".join(map(str, unknown["loc"]))
            raise MamTraError(f"There is no setting {key}; {_known(unknown['loc'])}.") from error
        raise MamTraError(f"{where}: {first_problem(error)}.") from error


def change_setting(content: dict[str, Any], change: str) -> None:
    """Set one value of nested settings from ``key=value``.

    Raises:
        MamTraError: it is not of that form, or the key leads through a value.
    """
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise MamTraError(f"{change!r} is no change of a setting; write key=value, such as optimizer.lr=2e-5.")
    *parents, last = key.split(".")
    place = content
    for name in parents:
        below = place.setdefault(name, {})
        if not isinstance(below, dict):
            raise MamTraError(f"There is no setting {key}: {name} holds a value, not a section.")
        place = below
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise MamTraError(f"The value of {change!r} cannot be read as YAML.") from error
    place[last] = value


def _known(place: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = DistillConfig
    for name in place[:-1]:
        model = model.model_fields[str(name)].annotation
    return f"known are {', '.join(model.model_fields)}"
