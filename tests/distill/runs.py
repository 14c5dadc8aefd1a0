"""A tiny teacher, a corpus and settings, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mamtra.checkpoints.native import save_model
from mamtra.distill.config import DistillConfig, parse_config
from mamtra.models.speech_lm import SpeechLM
from tests.distill.corpora import make_corpus
from tests.factories import tiny_config

CODES = 60


def make_teacher(directory: Path, seed: int = 0, **changes: Any) -> Path:
    """Two attention layers; large weights, so that it is sure of what it says."""
    lm = SpeechLM(tiny_config("aa", speech=CODES, text_vocab_size=50, **changes), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        lm.llm_decoder.weight.mul_(20)
    return save_model(directory, {"lm": lm})


def setting(folder: Path, out: str = "run", **sections: dict[str, Any]) -> DistillConfig:
    """Settings of a training of a few seconds; sections are merged into them."""
    content: dict[str, Any] = {
        "out": str(folder / out),
        "teacher": {"model": str(folder / "teacher")},
        "student": {"ratio": "1:1"},
        "data": {"train": str(folder / "corpus"), "validation": 0.2},
        "batch": {"tokens": 200, "accumulation": 2},
        "optimizer": {"lr": 3e-3, "average": 0.9},
        "run": {
            "steps": 12, "precision": "float32", "device": "cpu", "log_every": 3, "validate_every": 6, "save_every": 4,
            "loss_chunk": 64,
        },
    }  # fmt: skip
    for name, values in sections.items():
        content[name] = content.get(name, {}) | values
    return parse_config(content)


def prepare(folder: Path) -> Path:
    """The folder with teacher and corpus in it."""
    make_teacher(folder / "teacher")
    make_corpus(folder / "corpus", 60, codes=CODES, longest=30)
    return folder
