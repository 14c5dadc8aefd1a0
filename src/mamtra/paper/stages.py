"""What becomes of a cell: a training, cross entropies, sound, scores. Each is a file or folder of its own and is made once."""

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
from mamtra.distill.distributed import Processes
from mamtra.distill.export import STUDENT
from mamtra.distill.setup import open_corpus, open_speech_lm, read_weights
from mamtra.distill.trainer import Trainer
from mamtra.distill.validation import HeldOut
from mamtra.evaluate.judges.asr import Transcriber, open_transcriber
from mamtra.evaluate.judges.models import DistilMOS, SpeakerEncoder
from mamtra.evaluate.judges.optional import open_speaker_encoder
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import TestSet, read_set
from mamtra.evaluate.systems import Sounds
from mamtra.paper.runs import Cell
from mamtra.paper.settings import ListenSettings
from mamtra.runtime.device import pick_device
from mamtra.runtime.files import atomic_directory
from mamtra.runtime.json_files import write_json
from mamtra.synthesis.batch import speak_texts
from mamtra.synthesis.open_model import open_model
from mamtra.tts import TTS
from mamtra.version import VERSION

if TYPE_CHECKING:
    from mamtra.distill.config import DistillConfig

HELD_OUT = "held_out.json"
SOUND = "sound"
SCORES = "scores.jsonl"
_EVALUATION_TOKENS = 16_000
Stage = Literal["make", "speak", "listen"]
"""Train and measure cross entropy; speak; judge what was said."""


def on_device(cell: Cell, device: str | None) -> Cell:
    """The same cell, whose work runs on a device; None leaves it to its settings."""
    if device is None:
        return cell
    config, held = (
        content and {**content, "run": {**content["run"], "device": device}} for content in (cell.config, cell.held)
    )
    return replace(cell, config=config, held=held)


def make_student(cell: Cell, folder: Path) -> None:
    """Train and measure cross entropy; what is there already is not made again.

    Args:
        cell: what to make.
        folder: of the cell.

    Raises:
        MamTraError: as for `mamtra distill`.
    """
    directory = _directory(cell, folder)
    if not directory.is_dir():
        Trainer(cell.training(folder), resume=True).run()
        gc.collect()  # graphs and their memory, before the next cell of this process
    if not (folder / HELD_OUT).is_file():
        nats = held_out_nats(cell.training(folder), directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / HELD_OUT,
            {"made_on": _machine(cell.training(folder)), "nats": nats[:, 0].tolist(), "tokens": nats[:, 1].tolist()},
        )


def next_stage(cell: Cell, folder: Path) -> Stage | None:
    """What is to be done next, by the files that are there; None where all is done."""
    measured = (folder / HELD_OUT).is_file()
    if cell.listen is None:
        return None if measured else "make"
    scores = folder / SCORES
    if measured and scores.is_file() and len(read_scores(scores).rows) == len(lines_of(cell.listen).lines):
        return None
    if measured and (folder / SOUND).is_dir():
        return "listen"
    return "speak" if measured and _directory(cell, folder).is_dir() else "make"


def forget_student(folder: Path) -> None:
    """Remove the weights of a cell; the log of its training and its figures stay."""
    for name in ("student", "initial", "checkpoints"):
        shutil.rmtree(folder / "training" / name, ignore_errors=True)


def held_out_nats(config: DistillConfig, directory: Path) -> np.ndarray:
    """Summed nats and speech tokens of every held-out sequence, (n, 2) float64; equal corpora give equal sequences."""
    device, corpus = _take_device(config), open_corpus(config.data)
    lm = read_weights(open_speech_lm(directory)).to(device).eval()
    held = HeldOut(
        corpus, lm, config.run.evaluate_utterances, _EVALUATION_TOKENS, Processes(0, 1, device), config.run.precision
    )
    return held.per_sequence(lm).cpu().numpy()


def let_speak(cell: Cell, folder: Path) -> None:
    """Let the cell say its set, on its device.

    Raises:
        MamTraError: it cannot speak.
    """
    model = open_model(_directory(cell, folder), _take_device(cell.training(folder)))
    voice = TTS(model).voice(cell.listen.voice)
    lines = lines_of(cell.listen).lines
    texts = [line.text for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_directory(folder / SOUND) as partial:
        for number, samples in speak_texts(model, voice, texts, seed=cell.seed, rows=cell.listen.rows):
            if len(samples):
                write_audio(partial / f"{lines[number].id}.flac", samples, model.sample_rate)
    _give_back()


def listen_to(cell: Cell, folder: Path) -> None:
    """Judge what the cell has said; an interrupted judgement goes on.

    CTranslate2's Whisper and what judges with it stay on the CPU; with one of transformers all run on the cell's device.

    Raises:
        MamTraError: a judge is missing, or the scores there were measured otherwise.
    """
    sound, listen = folder / SOUND, cell.listen
    job = Job(str(sound), listen.whisper)
    system = Sounds(sound)
    system.about = {"system": cell.name, "kind": "cell"}
    scorer = Scorer(system, *_judges(listen, str(_take_device(cell.training(folder)))))
    for _ in evaluate_set(job, lines_of(listen), folder / SCORES, scorer=scorer):
        pass
    _give_back()


@cache
def lines_of(listen: ListenSettings) -> TestSet:
    """What is said."""
    return read_set(listen.set, listen.utterances)


def _take_device(config: DistillConfig) -> torch.device:
    """The device of a training; graphs are recorded and streams made on the current one, so it becomes that."""
    device = pick_device(config.run.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _give_back() -> None:
    """Return what this process no longer uses of the device's memory to the processes beside it."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _machine(config: DistillConfig) -> str:
    device = pick_device(config.run.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name}, torch {torch.__version__}, mamtra {VERSION}"


def _directory(cell: Cell, folder: Path) -> Path:
    return find_model(cell.model) if cell.model else folder / "training" / STUDENT


@cache
def _judges(
    listen: ListenSettings, device: str | None
) -> tuple[Transcriber, SpeakerEncoder | None, DistilMOS | None, dict[Path, np.ndarray]]:
    """Loaded once a process; with them, vectors of the set's recordings."""
    transcriber = open_transcriber(listen.whisper, torch.get_num_threads(), device)
    ears = getattr(transcriber, "device", "cpu")
    voices = open_speaker_encoder(listen.encoder, ears) if listen.similarity else None
    return transcriber, voices, DistilMOS(ears) if listen.mos else None, {}
