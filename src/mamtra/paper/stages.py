"""Stages of a run: training and cross entropy, synthesis, scores. Each result is a file or folder that is made once."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from mamtra.audio.io import write_audio
from mamtra.checkpoints.find import find_model
from mamtra.data.corpus import open_corpus
from mamtra.distill.api import distill
from mamtra.distill.distributed import Processes
from mamtra.distill.export import STUDENT
from mamtra.distill.models import open_speech_lm, read_opening, read_weights
from mamtra.distill.validation import ValidationSet
from mamtra.evaluate.judges.asr import Transcriber, open_transcriber
from mamtra.evaluate.judges.models import DistilMOS, SpeakerEncoder
from mamtra.evaluate.judges.optional import open_speaker_encoder
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import TestSet, read_set
from mamtra.evaluate.systems import Sounds
from mamtra.paper.runs import Run
from mamtra.paper.settings import EvaluationSettings
from mamtra.runtime.device import pick_device
from mamtra.runtime.files import atomic_directory
from mamtra.runtime.json_files import write_json
from mamtra.runtime.locks import file_lock
from mamtra.synthesis.batch import speak_texts
from mamtra.synthesis.open_model import open_model
from mamtra.tts import TTS
from mamtra.version import VERSION

if TYPE_CHECKING:
    from mamtra.distill.config import DistillConfig

VALIDATION = "validation.json"
SPEECH = "speech"
SCORES = "scores.jsonl"
_EVALUATION_TOKENS = 16_000
Stage = Literal["train", "synthesise", "score"]
"""Train and measure the cross entropy; synthesise the test set; score the speech."""


def on_device(run: Run, device: str | None) -> Run:
    """The same run on a device; None keeps the device of its settings."""
    if device is None:
        return run
    config, reference = (
        content and {**content, "run": {**content["run"], "device": device}} for content in (run.config, run.reference)
    )
    return replace(run, config=config, reference=reference)


def train_student(run: Run, folder: Path) -> None:
    """Train and measure the cross entropy, unless that has been done.

    Args:
        run: to train.
        folder: of the run.

    Raises:
        MamTraError: as for `mamtra distill`.
    """
    directory = _directory(run, folder)
    if not directory.is_dir():
        distill(run.training(folder), resume=True)
        _free_memory()  # of graphs, before the next run of this process
    if not (folder / VALIDATION).is_file():
        nats = cross_entropies(run.training(folder), directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / VALIDATION,
            {"made_on": _machine(run.training(folder)), "nats": nats[:, 0].tolist(), "tokens": nats[:, 1].tolist()},
        )


def next_stage(run: Run, folder: Path) -> Stage | None:
    """The first stage whose result is missing; None where all are done."""
    measured = (folder / VALIDATION).is_file()
    if run.evaluation is None:
        return None if measured else "train"
    scores = folder / SCORES
    if measured and scores.is_file() and len(read_scores(scores).rows) == len(lines_of(run.evaluation).lines):
        return None
    if measured and (folder / SPEECH).is_dir():
        return "score"
    return "synthesise" if measured and _directory(run, folder).is_dir() else "train"


def delete_weights(folder: Path) -> None:
    """Remove the weights of a run; the log of the training and the results are kept."""
    for name in ("student", "initial", "checkpoints"):
        shutil.rmtree(folder / "training" / name, ignore_errors=True)


def cross_entropies(config: DistillConfig, directory: Path) -> np.ndarray:
    """Summed cross entropy (nats) and speech tokens of every sequence of the validation set, (n, 2) float64."""
    device, corpus = _take_device(config), open_corpus(config.data)
    stored = open_speech_lm(directory)
    lm = read_weights(stored).to(device).eval()
    reference = ValidationSet(
        corpus, lm, config.run.validation_utterances, _EVALUATION_TOKENS, Processes(0, 1, device), config.run.precision,
        read_opening(stored),
    )  # fmt: skip
    return reference.per_sequence(lm).cpu().numpy()


def synthesise(run: Run, folder: Path) -> None:
    """Synthesise the test set of a run.

    Raises:
        MamTraError: the model has no such voice, or lacks parts.
    """
    model = open_model(_directory(run, folder), _take_device(run.training(folder)))
    voice = TTS(model).voice(run.evaluation.voice)
    lines = lines_of(run.evaluation).lines
    texts = [line.text for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_directory(folder / SPEECH) as partial:
        for number, samples in speak_texts(model, voice, texts, seed=run.seed, rows=run.evaluation.batch_size):
            if len(samples):
                write_audio(partial / f"{lines[number].id}.flac", samples, model.sample_rate)
    _free_memory()


def score_speech(run: Run, folder: Path) -> None:
    """Score the synthesised speech of a run; an interrupted call is resumed.

    With a CTranslate2 Whisper all scorers run on the CPU, with one of transformers on the device of the run.

    Raises:
        MamTraError: a scorer is missing, or the existing scores were made with other settings.
    """
    speech, evaluation = folder / SPEECH, run.evaluation
    job = Job(str(speech), evaluation.whisper)
    system = Sounds(speech)
    system.about = {"system": run.name, "kind": "run"}
    scorer = Scorer(system, *_judges(evaluation, str(_take_device(run.training(folder)))))
    with file_lock(folder / SCORES, "evaluation"):
        for _ in evaluate_set(job, lines_of(evaluation), folder / SCORES, scorer=scorer):
            pass
    _free_memory()


@cache
def lines_of(evaluation: EvaluationSettings) -> TestSet:
    """The test set."""
    return read_set(evaluation.set, evaluation.utterances)


def _take_device(config: DistillConfig) -> torch.device:
    """The device of a training, made the current one, on which CUDA graphs are captured."""
    device = pick_device(config.run.device)
    if device.type == "cuda" and device.index is not None:  # without a number it is the current one
        torch.cuda.set_device(device)
    return device


def _free_memory() -> None:
    """Free GPU memory that nothing needs any more."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _machine(config: DistillConfig) -> str:
    device = pick_device(config.run.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name}, torch {torch.__version__}, mamtra {VERSION}"


def _directory(run: Run, folder: Path) -> Path:
    return find_model(run.model) if run.model else folder / "training" / STUDENT


@cache
def _judges(
    evaluation: EvaluationSettings, device: str | None
) -> tuple[Transcriber, SpeakerEncoder | None, DistilMOS | None, dict[Path, np.ndarray]]:
    """Scorers, loaded once per process, and a cache of speaker vectors."""
    transcriber = open_transcriber(evaluation.whisper, torch.get_num_threads(), device)
    asr = getattr(transcriber, "device", "cpu")
    voices = open_speaker_encoder(evaluation.encoder, asr) if evaluation.similarity else None
    return transcriber, voices, DistilMOS(asr) if evaluation.mos else None, {}
