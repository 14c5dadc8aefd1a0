"""Sections of a distillation's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mamtra.conversion.options import TransferOptions
from mamtra.runtime.strict_models import ClosedModel


class TeacherSettings(ClosedModel):
    """The teacher.

    Attributes:
        model: directory or name.
        cache: directory of stored teacher outputs, filled if it is empty and shared by all training runs with this teacher and
            corpus; None computes them during training.
        top_k: largest log-probabilities that a cache stores for each position; the probability mass of all other tokens is stored
            exactly, as one class.
    """

    model: str
    cache: str | None = None
    top_k: int = Field(64, ge=1)


class StudentSettings(ClosedModel):
    """The student: a hybrid model directory, or the plan by which the teacher is converted into one.

    Attributes:
        model: directory made by `mamtra convert` or by a training run; the other settings are then unused.
        ratio: of attention to Mamba layers, such as ``1:1``; ``1:0`` keeps them all, as a control.
        strategy: which layers keep attention, see `mamtra plan`.
        ranking: file of `mamtra rank` for the importance strategies.
        attention: layers that keep attention, instead of a ratio.
        transfer: initialisation of the new layers.
        seed: of their random initialisation.
    """

    model: str | None = None
    ratio: str | None = None
    strategy: str = "block-beg"
    ranking: str | None = None
    attention: tuple[int, ...] | None = None
    transfer: TransferOptions = TransferOptions()
    seed: int = 0

    @model_validator(mode="after")
    def _one_of_three(self) -> StudentSettings:
        if sum(given is not None for given in (self.model, self.ratio, self.attention)) != 1:
            raise ValueError("give one of model, ratio and attention")
        return self


class OptimizerSettings(ClosedModel):
    """Optimiser and learning rate. The defaults are the paper's (Adam, 1e-5); clipping is that of CosyVoice 2's recipe.

    Attributes:
        name: ``adamw`` decays matrices, ``adam`` nothing.
        lr: peak learning rate.
        betas: of Adam.
        eps: of Adam.
        weight_decay: of adamw.
        clip: largest norm of the gradient.
        schedule: of the learning rate after the warm-up.
        warmup: fraction of the training in which the learning rate rises linearly.
        floor: learning rate at the end of the cosine, as a fraction of `lr`.
        average: decay of the exponential moving average of the weights, which is what is validated and exported; 0 for none.
        train: ``mamba`` trains the parameters of the Mamba mixers only.
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(5.0, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(0.0, ge=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)
    average: float = Field(0.0, ge=0, lt=1)
    train: Literal["all", "mamba"] = "all"


class AlignmentSettings(ClosedModel):
    """Steps before the training proper in which each new Mamba layer is trained to imitate the attention layer it replaces.

    Attributes:
        matrix_steps: steps that match the mixing matrices; memory grows with the square of the length.
        hidden_steps: steps after these that match the outputs of the mixers.
        lr: learning rate of both.
    """

    matrix_steps: int = Field(0, ge=0)
    hidden_steps: int = Field(0, ge=0)
    lr: float = Field(1e-4, gt=0)


class OnPolicySettings(ClosedModel):
    """Steps on speech tokens sampled from the student, without cross entropy.

    Attributes:
        fraction: of the steps that are on-policy.
        temperature: of the sampling.
        longest: largest number of speech tokens, as a multiple of the recording's.
    """

    fraction: float = Field(0.0, ge=0, le=1)
    temperature: float = Field(1.0, gt=0)
    longest: float = Field(1.0, gt=0)


class RunSettings(ClosedModel):
    """Length, device, precision, logging and checkpoints.

    Attributes:
        steps: optimiser steps.
        epochs: instead of steps: passes over the corpus.
        minutes: time limit; schedules follow whichever of steps and time is further.
        seed: of the order of the data and of all sampling.
        device: cpu, cuda, cuda:N; chosen automatically by default. Processes of torchrun take one GPU each.
        parallel: how several processes hold the weights: ``ddp`` all of them in each process, ``fsdp`` sharded (FSDP2).
        precision: ``bf16`` computes matrix products in bfloat16 over float32 weights.
        residual: dtype of the residual stream; ``bf16`` needs `precision` bf16.
        compile: compile the layers with torch.compile.
        cuda_graph: capture steps as CUDA graphs, one for each bucket; small models train many times faster.
        use_triton: run Mamba mixers, gated feed-forward layers and RoPE as Triton kernels; CUDA devices only.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        loss_chunk: positions whose logits are computed at a time.
        log_every: steps between lines of the log.
        validate_every: steps between validations; 0 for the end only.
        validation_utterances: largest number of utterances to validate on.
        save_every: steps between checkpoints; 0 for the end only.
        keep: number of checkpoints to keep.
        tensorboard: write TensorBoard events too.
    """

    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    minutes: float | None = Field(None, gt=0)
    seed: int = 0
    device: str | None = None
    parallel: Literal["ddp", "fsdp"] = "ddp"
    precision: Literal["float32", "bf16"] = "bf16"
    residual: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    cuda_graph: bool = False
    use_triton: bool = False
    gradient_checkpointing: bool = False
    loss_chunk: int = Field(8192, ge=1)
    log_every: int = Field(50, ge=1)
    validate_every: int = Field(500, ge=0)
    validation_utterances: int = Field(500, ge=1)
    save_every: int = Field(500, ge=0)
    keep: int = Field(2, ge=1)
    tensorboard: bool = False

    @model_validator(mode="after")
    def _has_an_end(self) -> RunSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of steps and epochs")
        if self.residual == "bf16" and self.precision != "bf16":
            raise ValueError("residual: bf16 needs precision: bf16")
        return self
