"""Sections of a distillation's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mamtra.conversion.options import TransferOptions


class Strict(BaseModel):
    """Knows its keys and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TeacherSettings(Strict):
    """Who teaches.

    Attributes:
        model: directory or name.
        cache: directory of stored outputs (made where it is empty, shared by all trainings with this teacher and corpus);
            None computes them on line.
        top_k: largest logits of each position that a cache keeps; the mass of the rest is kept exactly, as one class.
    """

    model: str
    cache: str | None = None
    top_k: int = Field(64, ge=1)


class StudentSettings(Strict):
    """Who learns: a hybrid directory, or the plan by which the teacher becomes one.

    Attributes:
        model: directory that `mamtra convert` or a training made; the other settings are then not used.
        ratio: attention to Mamba layers.
        strategy: of the plan.
        ranking: file for the importance strategies.
        attention: layers that keep attention, instead of a ratio.
        transfer: what the new layers begin as.
        seed: of their draws.
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


class DataSettings(Strict):
    """What is learnt.

    Attributes:
        train: directory of token shards.
        held_out: share of the utterances that is kept aside for measuring, or another directory of token shards.
        share: share of the rest that is used, drawn with `seed`.
        sources: names of the sources to use; all by default.
        verify: compare shards with their hashes before training.
        seed: of the draws.
    """

    train: str
    held_out: float | str = 0.01
    share: float = Field(1.0, gt=0, le=1)
    sources: tuple[str, ...] | None = None
    verify: bool = True
    seed: int = 0


class BatchSettings(Strict):
    """What one step sees.

    Attributes:
        tokens: positions of a micro-batch, padding included.
        accumulation: micro-batches of a step, dealt out to all processes.
        layout: of the sequences.
        join: share of the utterances that are put behind another one of the same speaker.
        disturbed: share of the speech codes in the input that are drawn at random.
        lengths: of the buckets; chosen by the data when left out.
    """

    tokens: int = Field(40_000, ge=8)
    accumulation: int = Field(1, ge=1)
    layout: Literal["unistream", "bistream", "mixed"] = "unistream"
    join: float = Field(0.0, ge=0, le=1)
    disturbed: float = Field(0.0, ge=0, le=1)
    lengths: tuple[int, ...] | None = None


class OptimizerSettings(Strict):
    """How weights move. The defaults are the paper's (Adam, 1e-5), clipping that of CosyVoice 2's recipe.

    Attributes:
        name: adamw decays matrices, adam nothing.
        lr: at its peak.
        betas: of Adam.
        eps: of Adam.
        weight_decay: of adamw.
        clip: greatest norm of the gradient.
        schedule: behind the warm-up.
        warmup: share of the training with a rising rate.
        floor: share of `lr` at the end of a cosine.
        average: decay of the running average of the weights, which is what is measured and kept; 0 for none.
        train: ``mamba`` moves the parameters of Mamba mixers alone.
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


class AlignmentSettings(Strict):
    """Steps before the training proper in which new Mamba layers learn from the attention that they replace.

    Attributes:
        matrix_steps: of comparing how positions are mixed; memory grows with the square of the length.
        hidden_steps: of comparing the mixers' outputs, behind them.
        lr: of both.
    """

    matrix_steps: int = Field(0, ge=0)
    hidden_steps: int = Field(0, ge=0)
    lr: float = Field(1e-4, gt=0)


class OnPolicySettings(Strict):
    """Steps in which the student learns on what it says itself, without cross entropy.

    Attributes:
        share: of the steps.
        temperature: of what it says.
        longest: codes at most, as a multiple of the recording's.
    """

    share: float = Field(0.0, ge=0, le=1)
    temperature: float = Field(1.0, gt=0)
    longest: float = Field(1.0, gt=0)


class RunSettings(Strict):
    """How long, where and how.

    Attributes:
        steps: optimiser steps.
        epochs: instead of steps: passes over the corpus.
        minutes: ends the training earlier; schedules follow whichever is further.
        seed: of the order.
        device: cpu, cuda, cuda:N; chosen when left out. Processes of torchrun take one GPU each.
        parallel: what several processes have of the weights: ``ddp`` all of them, ``fsdp`` a part each (FSDP2).
        precision: ``bf16`` computes matrix products in bfloat16 over float32 weights.
        residual: dtype of the sums between layers; ``bf16``, for bf16 precision, halves what passes between products.
        compile: compile the layers with torch.compile.
        cuda_graph: capture steps as CUDA graphs, one for each bucket; thin models train many times faster.
        kernels: learn with Mamba mixers, gated feed-forward and rotary positions as Triton kernels; CUDA devices only.
        gradient_checkpointing: trade time for memory.
        loss_chunk: positions whose logits are in memory at a time.
        log_every: steps.
        evaluate_every: steps between measurements on the utterances kept aside; 0 for the end only.
        evaluate_utterances: at most so many of them.
        save_every: steps between checkpoints; 0 for the end only.
        keep: checkpoints that stay.
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
    kernels: bool = False
    gradient_checkpointing: bool = False
    loss_chunk: int = Field(8192, ge=1)
    log_every: int = Field(50, ge=1)
    evaluate_every: int = Field(500, ge=0)
    evaluate_utterances: int = Field(500, ge=1)
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
