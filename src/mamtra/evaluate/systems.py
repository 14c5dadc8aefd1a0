"""Systems that are evaluated: a model that speaks the set, a system that is not ours, sounds, or the set's own recordings."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mamtra.audio.io import read_audio, write_audio
from mamtra.audio.trim import prepare_segment
from mamtra.checkpoints.cosyvoice.files import is_cosyvoice
from mamtra.checkpoints.model_files import CONFIG
from mamtra.errors import MamTraError
from mamtra.evaluate.adapters.open import KEY_VARIABLE, Adapter, AdapterOptions, SystemFailure, is_foreign, open_adapter
from mamtra.evaluate.sets import Line
from mamtra.runtime.printable import printable
from mamtra.synthesis.fingerprint import hash_parts
from mamtra.synthesis.retries import segment_seed
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.tts import TTS
from mamtra.voices.voice import Voice

GROUND_TRUTH = "ground_truth"
RESYNTHESIS = "resynthesis"


@dataclass(frozen=True)
class Spoken:
    """Sound of one line.

    Attributes:
        samples: float32 (T,).
        sample_rate: Hz.
        facts: more columns of its row: rtf, ttfa_ms, finish_reason, tokens, and `sound`, the file, where there is one.
    """

    samples: np.ndarray
    sample_rate: int
    facts: dict[str, Any]


class System(Protocol):
    """Gives the sound of a line, or None where there is none.

    Attributes:
        about: what it is, for the fingerprint.
        from_files: (optional) true where it only reads files, which any thread may do.
    """

    about: dict[str, Any]

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None: ...


class Sounds:
    """A folder with ID.wav, or another kind of sound file."""

    KINDS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
    from_files = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = {"system": folder.name, "kind": "sounds"}

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None:
        for kind in self.KINDS:
            path = self.folder / (line.id + kind)
            if path.is_file():
                return Spoken(*read_audio(path), {"sound": str(path.resolve())})
        return None


class GroundTruth:
    """The set's own recordings."""

    from_files = True

    def __init__(self) -> None:
        self.about = {"system": GROUND_TRUTH, "kind": "recordings"}

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None:
        path = line.ground_truth
        return Spoken(*read_audio(path), {"sound": str(path.resolve())}) if path else None


class _ModelSystem:
    """A system that needs a model.

    Args:
        tts: the model.
        voice: name of a voice for lines without a prompt; the model's default where None.
        seeds: of sampling; the first one where the call names none.
        keep: folder that the sound is written to; none where None.
    """

    def __init__(
        self, tts: TTS, voice: str | None = None, seeds: Sequence[int] = (0,), keep: Path | None = None
    ) -> None:
        self.tts, self.voice, self.seeds, self.keep = tts, voice, tuple(seeds), keep
        weights = hash_parts(tts.model)
        lm = getattr(tts.model.lm, "config", None)
        self.about = {
            "system": tts.model.name,
            "kind": "model",
            "weights_sha256": hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()[:16],
            "layer_types": "".join("A" if kind == "full_attention" else "M" for kind in getattr(lm, "layer_types", [])),
            "generation": tts.model.generation.model_dump(mode="json"),
            "voice": voice or "the model's default",
            "seed": self.seeds[0] if len(self.seeds) == 1 else list(self.seeds),
        }

    def voice_of(self, line: Line) -> tuple[str | Path | None, str | None]:
        """Name or recording of a voice, and the transcript of the recording."""
        return (line.prompt, line.prompt_text) if line.prompt else (self.voice, None)

    def kept(self, line: Line, seed: int | None, samples: np.ndarray) -> dict[str, Any]:
        """See `keep_sound`."""
        return keep_sound(self.keep, line, seed, samples, self.tts.sample_rate)


def keep_sound(folder: Path | None, line: Line, seed: int | None, samples: np.ndarray, rate: int) -> dict[str, Any]:
    """Write the sound to a folder, if there is one: ID.wav, or ID.SEED.wav where a line is spoken with several seeds."""
    if folder is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{line.id}.wav" if seed is None else f"{line.id}.{seed}.wav")
    write_audio(path, samples, rate)
    return {"sound": str(path.resolve())}


class Adapted:
    """A system that is not ours.

    Args:
        adapter: it.
        seeds: of torch's generators, for systems that draw with them; the first one where the call names none.
        keep: folder that the sound is written to; none where None.
    """

    def __init__(self, adapter: Adapter, seeds: Sequence[int] = (0,), keep: Path | None = None) -> None:
        self.adapter, self.seeds, self.keep = adapter, tuple(seeds), keep
        self.about = {"kind": "adapter", "seed": seeds[0] if len(seeds) == 1 else list(seeds), **adapter.about}

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None:
        prompt, rate = Path(line.prompt) if line.prompt else None, self.adapter.sample_rate
        with torch.random.fork_rng():
            torch.manual_seed(self.seeds[0] if seed is None else seed)
            began = time.perf_counter()
            try:
                found = self.adapter.speak(line.text, prompt, line.prompt_text if prompt else None)
            except MamTraError:
                raise
            except Exception as error:  # whatever somebody's code raises
                raise SystemFailure(
                    f"{self.about['system']} failed at {line.id}: {type(error).__name__}: {printable(str(error), 200)}."
                ) from error
        samples = np.asarray(found, np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise SystemFailure(
                f"{self.about['system']} gave samples of shape {samples.shape} for {line.id}; they should be one finite row."
            )
        if not len(samples):
            return None
        rtf = (time.perf_counter() - began) * rate / len(samples)
        return Spoken(samples, rate, {"rtf": rtf, **keep_sound(self.keep, line, seed, samples, rate)})


class Speaking(_ModelSystem):
    """A model that speaks: lines with a prompt in its voice, others in the named one."""

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None:
        voice, words = self.voice_of(line)
        audio = self.tts.say(line.text, voice, voice_text=words, seed=self.seeds[0] if seed is None else seed)
        facts: dict[str, Any] = {
            "rtf": audio.rtf,
            "ttfa_ms": audio.ttfa_ms,
            "finish_reason": audio.finish_reason,
            "tokens": audio.tokens,
            **self.kept(line, seed, audio.samples),
        }
        return Spoken(audio.samples, audio.sample_rate, facts)


class Resynthesis(_ModelSystem):
    """The set's recordings, encoded to speech tokens and decoded by the model's flow and vocoder, in the voice of the line.

    The language model has no part in it: no language model can make this flow and vocoder sound better.
    """

    def __init__(
        self, tts: TTS, voice: str | None = None, seeds: Sequence[int] = (0,), keep: Path | None = None
    ) -> None:
        super().__init__(tts, voice, seeds, keep)
        self.about |= {"system": f"{RESYNTHESIS} by {tts.model.name}", "kind": RESYNTHESIS}

    def __call__(self, line: Line, seed: int | None = None) -> Spoken | None:
        if not line.ground_truth:
            return None
        voice, seed_used = self.tts.voice(*self.voice_of(line)), self.seeds[0] if seed is None else seed
        samples, tokens = resynthesise_file(self.tts, voice, line.ground_truth, seed_used)
        return Spoken(samples, self.tts.sample_rate, {"tokens": tokens, **self.kept(line, seed, samples)})


def resynthesise_file(tts: TTS, voice: Voice, recording: Path, seed: int) -> tuple[np.ndarray, int]:
    """A recording to speech tokens and back through flow and vocoder.

    Returns:
        samples float32 (T,) at the model's rate, and the number of speech tokens.

    Raises:
        MamTraError: the recording cannot be read, or the model has no speech tokenizer.
    """
    wave, _ = read_audio(recording, 16000)
    with torch.inference_mode():
        tokens = tts.model.speech_tokenizer.tokenize(torch.from_numpy(np.ascontiguousarray(wave)).to(tts.model.device))
        samples = tokens_to_samples(tts.model, voice, tokens.tolist(), seed=segment_seed(seed, 0))
    return prepare_segment(samples, tts.sample_rate), tokens.numel()


def open_system(
    name: str,
    *,
    voice: str | None,
    seeds: Sequence[int],
    keep: Path | None,
    device: str | None,
    model: str | None = None,
    key_variable: str = KEY_VARIABLE,
) -> System:
    """A system by its name: "ground_truth", "resynthesis" (by the model), a folder of sounds, a model directory or name, or a
    system that is not ours, see `mamtra.evaluate.adapters.open.open_adapter`.

    Raises:
        MamTraError: it is none of these.
    """
    if name == GROUND_TRUTH:
        return GroundTruth()
    if name == RESYNTHESIS:
        return Resynthesis(TTS.load(model, device=device), voice, seeds, keep)
    if is_foreign(name):
        return Adapted(open_adapter(name, AdapterOptions(voice, model, device, key_variable)), seeds, keep)
    folder = Path(name)
    if name == "truth" and not folder.is_dir():
        raise MamTraError(f"The system 'truth' is called {GROUND_TRUTH!r} now.")
    if folder.is_dir() and not any(folder.iterdir()):
        raise MamTraError(
            f"{folder} is empty: give a model directory, or a folder with ID.wav for every line of the set."
        )
    if folder.is_dir() and not is_model(folder) and any(f.suffix in Sounds.KINDS for f in folder.iterdir()):
        return Sounds(folder)
    return Speaking(TTS.load(name, device=device), voice, seeds, keep)


def is_model(folder: Path) -> bool:
    """Whether a folder is a model directory of this package, or CosyVoice 2 as it was published."""
    return (folder / CONFIG).is_file() or is_cosyvoice(folder)
