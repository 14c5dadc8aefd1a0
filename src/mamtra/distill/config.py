"""Settings of a distillation: a YAML file, read strictly, with dotted changes from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from mamtra.data.settings import BatchSettings, DataSettings
from mamtra.distill.losses import DistillLossConfig
from mamtra.distill.renamed_keys import refuse_renamed
from mamtra.distill.settings import (
    AlignmentSettings,
    OnPolicySettings,
    OptimizerSettings,
    RunSettings,
    StudentSettings,
    TeacherSettings,
)  # fmt: skip
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.strict_models import ClosedModel, first_problem
from mamtra.runtime.yaml_files import read_settings


class DistillConfig(ClosedModel):
    """All settings of a training.

    Attributes:
        out: directory of checkpoints, log and the trained student.
        teacher: the teacher model.
        student: the student model.
        data: training and validation data.
        losses: weights and kinds of the losses.
        batch: the batches of a step.
        optimizer: optimiser and learning-rate schedule.
        alignment: layer-wise stages before the training proper.
        on_policy: training on the student's own speech.
        run: length, device, precision, logging.
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
    def _on_policy_needs_a_teacher(self) -> DistillConfig:
        if self.on_policy.fraction and not (self.losses.logits_weight or self.losses.emb_weight):
            raise ValueError(
                "on_policy needs losses.logits_weight or losses.emb_weight: sampled speech has no ground truth"
            )
        return self

    @model_validator(mode="after")
    def _teacher_cache_fits(self) -> DistillConfig:
        if self.teacher.cache is not None:
            if self.batch.layout != "unistream" or self.batch.concatenate_same_speaker or self.batch.token_noise:
                raise ValueError(
                    "teacher.cache needs batch.layout unistream, batch.concatenate_same_speaker 0 and batch.token_noise 0"
                )
            if self.losses.emb_weight and self.losses.emb_target != "embedding":
                raise ValueError(
                    "teacher.cache holds logits only: set losses.emb_weight to 0 or emb_target to embedding"
                )
        return self

    @model_validator(mode="after")
    def _fsdp_is_possible(self) -> DistillConfig:
        if self.run.parallel == "fsdp":
            if self.run.cuda_graph:
                raise ValueError("run.parallel fsdp gathers weights in every step, which CUDA graphs cannot capture: set "
                                 "run.cuda_graph to false")  # fmt: skip
            if self.run.compile:
                raise ValueError("run.parallel fsdp is not supported with compiled layers: set run.compile to false")
            if self.alignment.matrix_steps or self.alignment.hidden_steps:
                raise ValueError(
                    "alignment needs unsharded layers: run it with run.parallel ddp first, or leave it out"
                )
        return self

    def fingerprint(self) -> dict[str, Any]:
        """The settings that determine the weights; a training may be resumed with other values of the rest."""
        content = self.model_dump(mode="json")
        content.pop("out")
        kept = ("steps", "epochs", "minutes", "seed", "precision", "residual")
        content["run"] = {name: content["run"][name] for name in kept}
        content["data"].pop("verify")
        return content


@checked
def read_config(path: str | os.PathLike, changes: Iterable[str] = ()) -> DistillConfig:
    """Read a YAML file.

    Args:
        path: of the file.
        changes: ``key=value`` with dotted keys, such as ``optimizer.lr=2e-5``; values are YAML.

    Raises:
        MamTraError: the file is missing or is not YAML, or a setting is unknown, missing or of the wrong kind.
    """
    return parse_config(read_settings(Path(path), changes), str(path))


@checked
def parse_config(content: dict[str, Any], where: str = "the configuration") -> DistillConfig:
    """Settings from a nested dictionary.

    Raises:
        MamTraError: a setting is unknown, renamed, missing or of the wrong kind.
    """
    refuse_renamed(content)
    try:
        return DistillConfig.model_validate(content)
    except ValidationError as error:
        unknown = next((found for found in error.errors() if found["type"] == "extra_forbidden"), None)
        if unknown is not None:
            key = ".".join(map(str, unknown["loc"]))
            raise MamTraError(f"There is no setting {key}; {_known(unknown['loc'])}.") from error
        raise MamTraError(f"{where}: {first_problem(error)}.") from error


def _known(loc: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = DistillConfig
    for name in loc[:-1]:
        model = model.model_fields[str(name)].annotation
    return f"known are {', '.join(model.model_fields)}"
