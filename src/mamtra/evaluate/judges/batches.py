"""Judges over many sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def judge_all(judge: Any, sounds: Sequence[tuple[np.ndarray, int]]) -> list[Any]:
    """Results of a judge for sounds, samples (T,) and their rate; in one batch where the judge has `many`."""
    return judge.many(sounds) if hasattr(judge, "many") else [judge(*sound) for sound in sounds]
