"""What is judged: a model that speaks the set, a folder of sounds, or the set's own recordings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mamtra.audio.io import read_audio, write_audio
from mamtra.checkpoints.native import base_of, hash_model
from mamtra.errors import MamTraError
from mamtra.evaluate.sets import Line
from mamtra.tts import TTS

TRUTH = "truth"


@dataclass(frozen=True)
class Spoken:
    """Sound of one line.

    Attributes:
        samples: float32 (T,).
        sample_rate: Hz.
        facts: what is known of it: rtf, ttfa_ms, finish_reason, tokens, and its file where there is one.
    """

    samples: np.ndarray
    sample_rate: int
    facts: dict[str, Any]


class System(Protocol):
    """Gives the sound of a line, or None where there is none.

    Attributes:
        about: what it is, for the stamp.
    """

    about: dict[str, Any]

    def __call__(self, line: Line) -> Spoken | None: ...


class Sounds:
    """A folder with ID.wav, or another kind of sound file."""

    KINDS = (".wav", ".flac", ".ogg", ".opus", ".mp3")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = {"system": folder.name, "kind": "sounds"}

    def __call__(self, line: Line) -> Spoken | None:
        for kind in self.KINDS:
            path = self.folder / (line.id + kind)
            if path.is_file():
                return Spoken(*read_audio(path), {"sound": str(path.resolve())})
        return None


class Truth:
    """The recordings that the set itself has of its lines."""

    def __init__(self) -> None:
        self.about = {"system": TRUTH, "kind": "recordings"}

    def __call__(self, line: Line) -> Spoken | None:
        return Spoken(*read_audio(line.truth), {"sound": str(line.truth.resolve())}) if line.truth else None


class Speaking:
    """A model. Lines with a prompt are spoken in its voice, others in the named one.

    Args:
        tts: the model.
        voice: name of a voice; the model's own by default.
        seed: of sampling.
        keep: folder for ID.wav of all that is said; none where None.
    """

    def __init__(self, tts: TTS, voice: str | None = None, seed: int = 0, keep: Path | None = None) -> None:
        self.tts, self.voice, self.seed, self.keep = tts, voice, seed, keep
        directory = tts.model.directory
        base = base_of(directory)
        weights = {**(hash_model(base) if base else {}), **hash_model(directory)}
        lm = getattr(tts.model.lm, "config", None)
        self.about = {
            "system": tts.model.name,
            "kind": "model",
            "weights_sha256": hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()[:16],
            "layer_types": "".join("A" if kind == "full_attention" else "M" for kind in getattr(lm, "layer_types", [])),
            "generation": tts.model.generation.model_dump(),
            "voice": voice or "the model's own",
            "seed": seed,
        }

    def __call__(self, line: Line) -> Spoken | None:
        voice, words = (line.prompt, line.prompt_text) if line.prompt else (self.voice, None)
        audio = self.tts.say(line.text, voice, voice_text=words, seed=self.seed)
        facts: dict[str, Any] = {
            "rtf": audio.rtf,
            "ttfa_ms": audio.ttfa_ms,
            "finish_reason": audio.finish_reason,
            "tokens": audio.tokens,
        }
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            path = self.keep / f"{line.id}.wav"
            write_audio(path, audio.samples, audio.sample_rate)
            facts["sound"] = str(path.resolve())
        return Spoken(audio.samples, audio.sample_rate, facts)


def open_system(name: str, *, voice: str | None, seed: int, keep: Path | None, device: str | None) -> System:
    """A system by what a user calls it: "truth", a folder of sounds, a model directory or name.

    Raises:
        MamTraError: it is none of these.
    """
    folder = Path(name)
    if name == TRUTH:
        return Truth()
    if (
        folder.is_dir()
        and not (folder / "config.json").exists()
        and any(f.suffix in Sounds.KINDS for f in folder.iterdir())
    ):
        return Sounds(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        raise MamTraError(
            f"{folder} is empty: give a model directory, or a folder with ID.wav for every line of the set."
        )
    return Speaking(TTS.load(name, device=device), voice, seed, keep)
