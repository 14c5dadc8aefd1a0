"""Settings of the distillation of a flow to few steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from mamtra.acoustic.flow_steps import MOST_STEPS
from mamtra.distill.settings import OptimizerSettings
from mamtra.errors import MamTraError
from mamtra.runtime.strict_models import ClosedModel, first_problem
from mamtra.runtime.yaml_files import change_setting

Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]


class FlowBatchSettings(ClosedModel):
    """The batches of a training step.

    Attributes:
        tokens: speech tokens of a batch, those of the prompts included.
        lengths: tokens of a row, in turn: a prompt, and speech that fills the rest.
        no_prompt: fraction of the rows without a prompt, as in a voice of which the speaker embedding alone is used.
        fixed_noise: fraction of the rows that start from the noise of every synthesis; the others start from noise of their own.
    """

    tokens: int = Field(8000, ge=8)
    lengths: tuple[Annotated[int, Field(ge=4, le=4096)], ...] = Field((150, 300, 450), min_length=1)
    no_prompt: float = Field(0.1, ge=0, le=1)
    fixed_noise: float = Field(0.75, ge=0, le=1)

    @model_validator(mode="after")
    def _rows_fit(self) -> FlowBatchSettings:
        if max(self.lengths) > self.tokens:
            raise ValueError("batch.tokens must be at least the greatest of batch.lengths")
        return self


class FlowRunSettings(ClosedModel):
    """Length, device and log of the training.

    Attributes:
        steps: training steps.
        minutes: end earlier, after so many; the learning rate follows what comes first.
        seed: of the batches and of the noise.
        device: chosen automatically by default.
        precision: of the products.
        cuda_graph: capture a step of each kind of batch; CUDA devices only.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; 0 for the end only.
        keep: number of checkpoints to keep.
    """

    steps: int = Field(10_000, ge=1)
    minutes: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    device: str | None = None
    precision: Literal["float32", "bf16"] = "bf16"
    cuda_graph: bool = True
    log_every: int = Field(50, ge=1)
    save_every: int = Field(1000, ge=0)
    keep: int = Field(2, ge=1)


class FlowDistillConfig(ClosedModel):
    """All settings of the distillation of a flow.

    Attributes:
        model: model directory with the teacher, a flow that takes any number of steps.
        out: directory of checkpoints, log and the trained model.
        data: directory of token shards.
        voices: directory of voice files to condition on; the voices of the model by default.
        start: model directory with a few-step flow of the same sizes and `flow_steps`, made of an earlier flow, that the student
            goes on from; by default it begins with the teacher's weights.
        flow_steps: how many steps the student learns to take; the last one becomes the default of its model.
        teacher_steps: Euler steps of the teacher, a multiple of each of `flow_steps`.
        storage: type of the student's weights in the trained model.
        batch: the batches of a step.
        optimizer: optimiser and learning-rate schedule.
        run: length, device, precision, logging.
    """

    model: str
    out: str
    data: str
    voices: str | None = None
    start: str | None = None
    flow_steps: tuple[Steps, ...] = Field((2, 4), min_length=1)
    teacher_steps: Steps = 16
    storage: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    batch: FlowBatchSettings = FlowBatchSettings()
    optimizer: OptimizerSettings = OptimizerSettings(
        name="adamw", lr=5e-4, betas=(0.9, 0.98), clip=1.0, schedule="cosine", warmup=0.02, floor=0.02, average=0.999
    )
    run: FlowRunSettings = FlowRunSettings()

    @model_validator(mode="after")
    def _grids_coincide(self) -> FlowDistillConfig:
        uneven = [steps for steps in self.flow_steps if self.teacher_steps % steps]
        if uneven:
            raise ValueError(f"teacher_steps must be a multiple of each of flow_steps, and of {uneven[0]} it is not")
        if self.optimizer.train != "all":
            raise ValueError("optimizer.train must be all: a flow has no Mamba layers")
        return self

    def fingerprint(self) -> dict[str, Any]:
        """The settings that determine the weights; a training may be resumed with other values of the rest."""
        content = self.model_dump(mode="json", exclude={"out", "storage"})
        content["run"] = {name: content["run"][name] for name in ("steps", "minutes", "seed", "precision")}
        return content


def parse_flow_config(content: Mapping[str, Any], changes: Iterable[str] = ()) -> FlowDistillConfig:
    """Settings from a nested dictionary.

    Args:
        content: settings by name; those that are left out have their defaults.
        changes: ``key=value`` with dotted keys, such as ``optimizer.lr=1e-4``.

    Raises:
        MamTraError: a setting is unknown, missing or of the wrong kind.
    """
    settings: dict[str, Any] = {"optimizer": FlowDistillConfig.model_fields["optimizer"].default.model_dump()}
    for name, value in content.items():
        inner = settings.get(name)
        settings[name] = inner | dict(value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    for change in changes:
        change_setting(settings, change)
    try:
        return FlowDistillConfig.model_validate(settings)
    except ValidationError as error:
        raise MamTraError(f"The distillation of a flow: {first_problem(error)}.") from error
