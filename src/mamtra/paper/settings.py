"""Settings of the experiments: one YAML file, read as strictly as that of a single training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from mamtra.distill.config import change_setting, read_yaml
from mamtra.distill.settings import Strict
from mamtra.errors import MamTraError, first_problem

STRATEGIES = ("block-beg", "block-end", "front", "middle", "back", "sandwich", "importance-wer")
RATIOS = ("1:1", "1:3", "1:5", "1:11")


class ListenSettings(Strict):
    """What every student says, and who listens.

    Attributes:
        set: see `mamtra.evaluate.sets.read_set`.
        utterances: the first so many of it.
        voice: to speak with; the model's own by default.
        whisper: see `mamtra.evaluate.judges.asr.open_transcriber`; one of transformers, and all other judges with it, run on the
            device of the training.
        similarity: compare voices too.
        encoder: what does, see `mamtra.evaluate.judges.optional.open_speaker_encoder`.
        mos: rate naturalness too.
        rows: segments that are spoken side by side.
    """

    set: str = "plain"
    utterances: int | None = Field(None, ge=1)
    voice: str | None = None
    whisper: str = "base"
    similarity: bool = False
    encoder: str | None = None
    mos: bool = False
    rows: int = Field(128, ge=1)


class GridSettings(Strict):
    """Figure 4: every strategy at every ratio.

    Attributes:
        strategies: of the plans.
        ratios: attention to Mamba.
        seeds: trainings of every plan.
        more_seeds: further seeds of some plans, by "STRATEGY RATIO".
        changes: of the training, dotted.
    """

    strategies: tuple[str, ...] = STRATEGIES
    ratios: tuple[str, ...] = RATIOS
    seeds: tuple[int, ...] = (0,)
    more_seeds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)


class OnePlanSettings(Strict):
    """A study of one plan.

    Attributes:
        strategy: of the plan.
        ratio: of the plan.
        seeds: trainings of every row.
        changes: of the training, dotted.
        listen: instead of the common setting of that name.
    """

    strategy: str = "block-beg"
    ratio: str = "1:1"
    seeds: tuple[int, ...] = (0,)
    changes: dict[str, Any] = Field(default_factory=dict)
    listen: ListenSettings | None = None


class StartSettings(OnePlanSettings):
    """Figure 6: different beginnings.

    Attributes:
        inits: see `mamtra.conversion.options.TransferOptions.init`.
    """

    inits: tuple[str, ...] = ("transfer", "xavier", "kaiming")


class LossSettings(OnePlanSettings):
    """Table 4: one of the losses left out.

    Attributes:
        without: names of losses, ``ce``, ``logits`` or ``emb``.
    """

    without: tuple[str, ...] = ("ce", "logits", "emb")


class VariantSettings(OnePlanSettings):
    """Beyond the paper: other trainings of one plan.

    Attributes:
        variants: dotted changes of the training, by the name of the row.
    """

    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)


class FinalSettings(Strict):
    """Table 3: chosen plans, trained to the end, on different shares of the data.

    Attributes:
        plans: "STRATEGY RATIO" each.
        shares: of the data; a training on a share takes the steps of `steps` with the same place. One may stand there more
            than once.
        steps: optimiser steps by share.
        seeds: trainings of every row.
        models: further directories that are measured as they are, by name.
        changes: of the training, dotted.
        listen: instead of the common setting of that name.
    """

    plans: tuple[str, ...] = ("block-beg 1:1", "block-beg 1:3", "importance-wer 1:5", "importance-wer 1:11")
    shares: tuple[float, ...] = (0.02, 0.1, 1.0)
    steps: tuple[int, ...] = (400, 1200, 2400)
    seeds: tuple[int, ...] = (0,)
    models: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    listen: ListenSettings | None = None


class ExperimentSettings(Strict):
    """All of it.

    Attributes:
        distill: settings of `mamtra distill` that all trainings share, without `out` and `student`.
        transfer: options of the conversion that all students share.
        rankings: files for the importance strategies, by strategy.
        listen: speech and its judges; null measures cross entropy alone.
        fig4: see `GridSettings`.
        fig6: see `StartSettings`.
        table3: see `FinalSettings`.
        table4: see `LossSettings`.
        variants: studies by name, see `VariantSettings`.
    """

    distill: dict[str, Any]
    transfer: dict[str, Any] = Field(default_factory=dict)
    rankings: dict[str, str] = Field(default_factory=dict)
    listen: ListenSettings | None = ListenSettings()
    fig4: GridSettings = GridSettings()
    fig6: StartSettings = StartSettings()
    table3: FinalSettings = FinalSettings()
    table4: LossSettings = LossSettings()
    variants: dict[str, VariantSettings] = Field(default_factory=dict)


def read_experiments(path: str | os.PathLike, changes: Iterable[str] = ()) -> ExperimentSettings:
    """Read the YAML file.

    Args:
        path: of the file.
        changes: ``key=value`` with dotted keys, as for `mamtra distill`.

    Raises:
        MamTraError: the file is missing or is not YAML, or a setting is unknown, missing or of the wrong kind.
    """
    content = read_yaml(Path(path))
    for change in changes:
        change_setting(content, change)
    try:
        return ExperimentSettings.model_validate(content)
    except ValidationError as error:
        raise MamTraError(f"{path}: {first_problem(error)}.") from error
