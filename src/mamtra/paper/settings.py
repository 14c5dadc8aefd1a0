"""Settings of the experiments: one YAML file, read as strictly as that of a single training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from mamtra.distill.renamed_keys import refuse_renamed
from mamtra.errors import MamTraError
from mamtra.models import plan
from mamtra.runtime.arguments import checked
from mamtra.runtime.strict_models import ClosedModel, first_problem
from mamtra.runtime.yaml_files import read_settings

STRATEGIES = ("block-beg", "block-end", "front", "middle", "back", "sandwich", "importance-wer")
RATIOS = ("1:1", "1:3", "1:5", "1:11")


def _known_strategy(name: str) -> str:
    if name not in plan.STRATEGIES or name == "explicit":
        known = ", ".join(one for one in plan.STRATEGIES if one != "explicit")
        raise ValueError(f"there is no strategy {name!r}; known are {known}")
    return name


Strategy = Annotated[str, AfterValidator(_known_strategy)]
Ratio = Annotated[str, Field(pattern=r"^\d+:\d+$")]


class EvaluationSettings(ClosedModel):
    """The test set that every student synthesises, and the scorers.

    Attributes:
        set: ``plain`` (the sentences of the package), FILE.lst of Seed-TTS, FILE.tsv, FILE.txt, or a LibriTTS folder.
        utterances: the first so many of it.
        voice: of the synthesis; the model's default voice if None.
        whisper: a size, the folder of a CTranslate2 Whisper, or ``hf:NAME``; one of transformers, and all other scorers with it,
            run on the device of the training.
        similarity: measure speaker similarity.
        encoder: speaker encoder for it: ``wavlm``, ``resemblyzer`` or a model; the model's own by default.
        mos: predict naturalness.
        batch_size: segments synthesised in a batch.
    """

    set: str = "plain"
    utterances: int | None = Field(None, ge=1)
    voice: str | None = None
    whisper: str = "base"
    similarity: bool = False
    encoder: str | None = None
    mos: bool = False
    batch_size: int = Field(128, ge=1)


class GridSettings(ClosedModel):
    """Figure 4: every strategy at every ratio.

    Attributes:
        strategies: of the plans.
        ratios: attention to Mamba.
        seeds: of every plan.
        more_seeds: further seeds of some plans, by "STRATEGY RATIO".
        changes: settings of the training by dotted key.
    """

    strategies: tuple[Strategy, ...] = STRATEGIES
    ratios: tuple[Ratio, ...] = RATIOS
    seeds: tuple[int, ...] = (0,)
    more_seeds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)


class OnePlanSettings(ClosedModel):
    """A study of one plan.

    Attributes:
        strategy: of the plan.
        ratio: of the plan.
        seeds: of every row.
        changes: settings of the training by dotted key.
        evaluation: replaces the common setting of that name.
    """

    strategy: Strategy = "block-beg"
    ratio: Ratio = "1:1"
    seeds: tuple[int, ...] = (0,)
    changes: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings | None = None


class StartSettings(OnePlanSettings):
    """Figure 6: initialisations of the new layers.

    Attributes:
        inits: of ``transfer``, ``xavier`` and ``kaiming``, see `init` of the transfer.
    """

    inits: tuple[str, ...] = ("transfer", "xavier", "kaiming")


class LossSettings(OnePlanSettings):
    """Table 4: ablation of the losses.

    Attributes:
        without: names of losses, ``ce``, ``logits`` or ``emb``.
    """

    without: tuple[str, ...] = ("ce", "logits", "emb")


class VariantSettings(OnePlanSettings):
    """Beyond the paper: variants of the training of one plan.

    Attributes:
        variants: changes of the training by dotted key, by name of the row.
    """

    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)


class ControlSettings(ClosedModel):
    """Beyond the paper: plans against an all-attention student that is trained alike.

    Attributes:
        plans: "STRATEGY RATIO" each; the control ``1:0`` is always there.
        seeds: of every row.
        changes: settings of the training by dotted key.
        evaluation: replaces the common setting of that name.
    """

    plans: tuple[str, ...] = ("block-beg 1:1", "block-beg 1:3")
    seeds: tuple[int, ...] = (0,)
    changes: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings | None = None


class FinalSettings(ClosedModel):
    """Table 3: chosen plans, trained on different fractions of the data.

    Attributes:
        plans: "STRATEGY RATIO" each.
        fractions: of the data; each goes with the entry of `steps` at the same position. A fraction may be repeated.
        steps: optimiser steps of each fraction.
        seeds: of every row.
        models: directories of further models to evaluate, by name.
        changes: settings of the training by dotted key.
        evaluation: replaces the common setting of that name.
    """

    plans: tuple[str, ...] = ("block-beg 1:1", "block-beg 1:3", "importance-wer 1:5", "importance-wer 1:11")
    fractions: tuple[float, ...] = (0.02, 0.1, 1.0)
    steps: tuple[int, ...] = (400, 1200, 2400)
    seeds: tuple[int, ...] = (0,)
    models: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings | None = None


class ExperimentSettings(ClosedModel):
    """Settings of all experiments.

    Attributes:
        distill: settings of `mamtra distill` for all training runs, without `out` and `student`.
        transfer: options of the conversion for all students.
        rankings: files for the importance strategies, by strategy.
        evaluation: test set and scorers; null for cross entropy alone.
        fig4: every strategy at every ratio.
        fig6: initialisations of the new layers.
        table3: chosen plans on different fractions of the data.
        table4: ablation of the losses.
        variants: variants of the training of one plan, by name of the study.
        control: plans against an all-attention student, by name of the training.
    """

    distill: dict[str, Any]
    transfer: dict[str, Any] = Field(default_factory=dict)
    rankings: dict[str, str] = Field(default_factory=dict)
    evaluation: EvaluationSettings | None = EvaluationSettings()
    fig4: GridSettings = GridSettings()
    fig6: StartSettings = StartSettings()
    table3: FinalSettings = FinalSettings()
    table4: LossSettings = LossSettings()
    variants: dict[str, VariantSettings] = Field(default_factory=dict)
    control: dict[str, ControlSettings] = Field(default_factory=dict)


@checked
def read_experiments(path: str | os.PathLike, changes: Iterable[str] = ()) -> ExperimentSettings:
    """Read the YAML file.

    Args:
        path: of the file.
        changes: ``key=value`` with dotted keys, as for `mamtra distill`.

    Raises:
        MamTraError: the file is missing or is not YAML, or a setting is unknown, missing or of the wrong kind.
    """
    content = read_settings(Path(path), changes)
    refuse_renamed(content)
    try:
        return ExperimentSettings.model_validate(content)
    except ValidationError as error:
        raise MamTraError(f"{path}: {first_problem(error)}.") from error
