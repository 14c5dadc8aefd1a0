"""Which stage of the embedded voice loses what: every stage's sound judged beside the source engine's and beside recordings.

    python benchmarks/voice_stages.py --text SET --real NAME=SET ... --run DIR --whisper DIR --campplus FILE [--device cuda]

Text: the source engine (hibari-tts, from this package's phonemes); its sound through the vocoder alone; through speech tokens, flow
and vocoder in the default voice; teacher; student. Recordings (sets with prompt and ground_truth): as they are; through the vocoder
alone; through tokens, flow and vocoder in the voice of the prompt; the student with the voice of the prompt. FILE holds the
published weights of CAM++. What is judged is kept in the run folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import benchmark, judging_options
from voice_sounds import (
    FIGURES,
    Take,
    VoiceJudges,
    about_run,
    cells,
    figures,
    judged_by,
    read_rows,
    speak_all,
    write_rows,
)

from mamtra import TTS
from mamtra.audio.features import mel_24k
from mamtra.audio.io import read_audio, resample, write_audio
from mamtra.audio.trim import trim_edges
from mamtra.evaluate.sets import Line, read_set
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.token2wav import batch_to_samples
from mamtra.voices.voice import Voice

ENGINE = "source engine"
SPOKEN, RECORDED = "text", "recordings"
REFERENCE = "The library opens at nine, and the garden behind it stays open until the evening."
"""Said by the engine, to compare the speaker with."""
RATE = 24000

Sounds = dict[str, np.ndarray]
"""Samples (T,) at 24 kHz by the id of the line."""


class Engine:
    """The source engine, which says this package's phonemes."""

    def __init__(self, reader: TTS) -> None:
        from hibari import Hibari

        self._voice, self._reader = Hibari(), reader

    def __call__(self, text: str, number: int = 0) -> np.ndarray:
        """Samples (T,) at 24 kHz."""
        from hibari import dsp

        ids = np.asarray([self._voice.ids(self._reader.model.text.phonemes(text))], np.int64)
        found = self._voice.sess.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        *spectra, f0 = (one[0] for one in found)
        return trim_edges(dsp.synth(*spectra, f0, np.random.default_rng(number)).astype(np.float32), RATE)


class Stages:
    """The model's stages over many sounds.

    Args:
        model: directory or name of the student.
        teacher: directory of the teacher.
        device: of torch.
    """

    def __init__(self, model: str | None, teacher: str, device: str) -> None:
        self.student, self._device = TTS.load(model, runtime="torch", device=device), device
        self._teacher = teacher

    def say(self, lines: Sequence[Line], teacher: bool = False) -> Sounds:
        """Student or teacher with the default voice, as `mamtra say` does."""
        tts = TTS.load(self._teacher, runtime="torch", device=self._device) if teacher else self.student
        found = speak_all(tts.model, [(tts.voice(), line.text, n) for n, line in enumerate(lines)])
        return {line.id: samples for line, samples in zip(lines, found, strict=True)}

    def clone(self, lines: Sequence[Line]) -> Sounds:
        """The student with the voice of each line's prompt."""
        voices = {prompt: self.voice(prompt) for prompt in {line.prompt for line in lines}}
        found = speak_all(self.student.model, [(voices[line.prompt], line.text, n) for n, line in enumerate(lines)])
        return {line.id: samples for line, samples in zip(lines, found, strict=True)}

    def voice(self, prompt: Path | None) -> Voice:
        """Of a recording; the default one without."""
        return self.student.clone(prompt) if prompt else self.student.voice()

    @torch.inference_mode()
    def vocode(self, sounds: Sounds) -> Sounds:
        """Mel spectrum to samples."""
        vocoder, made = self.student.model.vocoder, {}
        for key, samples in sounds.items():
            mel = mel_24k(torch.from_numpy(whole_tokens(samples))[None].to(self._device))
            noise = vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[-1] * vocoder.config.hop)
            made[key] = vocoder.inference(mel, noise=noise.to(self._device)).flatten().float().cpu().numpy()
        return made

    @torch.inference_mode()
    def resynthesise(self, sounds: Sounds, voices: dict[str, Voice]) -> Sounds:
        """Speech tokens of each sound through flow and vocoder, in a voice."""
        model, keys = self.student.model, list(sounds)
        tokens = [
            model.speech_tokenizer.tokenize(
                torch.from_numpy(np.ascontiguousarray(resample(sounds[key], RATE, 16000))).to(self._device)
            ).tolist()
            for key in keys
        ]
        found = batch_to_samples(model, [voices[key] for key in keys], tokens, seeds=range(len(keys)))
        return dict(zip(keys, found, strict=True))


def whole_tokens(samples: np.ndarray) -> np.ndarray:
    """Samples (T,) padded with silence to a whole number of speech tokens."""
    return np.pad(samples, (0, -len(samples) % 960)).astype(np.float32)


def text_systems(stages: Stages, lines: Sequence[Line], engine: Engine) -> dict[str, Callable[[], Sounds]]:
    """Every stage's sound of a text."""
    own: Sounds = {}

    def spoken() -> Sounds:
        if not own:
            own.update({line.id: engine(line.text, number) for number, line in enumerate(lines)})
        return own

    voice = stages.voice(None)
    return {
        ENGINE: spoken,
        "engine, vocoder": lambda: stages.vocode(spoken()),
        "engine, tokens, flow, vocoder": lambda: stages.resynthesise(spoken(), dict.fromkeys(spoken(), voice)),
        "teacher": partial(stages.say, lines, teacher=True),
        "student": partial(stages.say, lines),
    }


def real_systems(stages: Stages, lines: Sequence[Line]) -> dict[str, Callable[[], Sounds]]:
    """Every stage's sound of recordings."""
    own: Sounds = {}

    def recorded() -> Sounds:
        if not own:
            own.update({line.id: read_audio(line.ground_truth, RATE)[0] for line in lines})
        return own

    def resynthesised() -> Sounds:
        voices = {prompt: stages.voice(prompt) for prompt in {line.prompt for line in lines}}
        return stages.resynthesise(recorded(), {line.id: voices[line.prompt] for line in lines})

    return {
        "recording": recorded,
        "vocoder": lambda: stages.vocode(recorded()),
        "tokens, flow, vocoder": resynthesised,
        "student, voice of the prompt": partial(stages.clone, lines),
    }


SECTIONS = {
    "text": "Text",
    "seen": "Recordings of speakers that all stages were trained on",
    "held": "Recordings of held-out speakers",
}
SYSTEMS = {
    SPOKEN: (ENGINE, "engine, vocoder", "engine, tokens, flow, vocoder", "teacher", "student"),
    RECORDED: ("recording", "vocoder", "tokens, flow, vocoder", "student, voice of the prompt"),
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--teacher", default="models/mini-teacher")
    parser.add_argument("--text", help="set of sentences")
    parser.add_argument("--real", nargs="*", default=[], metavar="NAME=SET", help="sets with recordings")
    parser.add_argument("--limit", type=int, help="lines of each set")
    judging_options(parser)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record once all is judged."""
    places = [(SPOKEN, SPOKEN, args.text)] if args.text else []
    places += [(RECORDED, *word.split("=", 1)) for word in args.real]
    stages = judges = None
    parts = []
    for kind, name, place in places:
        found = read_set(place, args.limit)
        files = {system: args.run / name / f"{n}.jsonl" for n, system in enumerate(SYSTEMS[kind])}
        if not args.collect and not all(file.exists() for file in files.values()):
            stages = stages or Stages(args.model, args.teacher, args.device)
            judges = judges or VoiceJudges(args.whisper, args.campplus, args.device)
            about_run(args.run, judges)
            judge_set(stages, judges, kind, found.lines, files)
        parts.append({
            "kind": kind, "name": name, "set": found.name, "sha256": found.sha256, "lines": len(found.lines),
            "systems": {system: figures(read_rows(file)) for system, file in files.items() if file.exists()},
        })  # fmt: skip
    yield {"model": args.model, "parts": parts, **about_run(args.run, judges)}


def judge_set(stages: Stages, judges: VoiceJudges, kind: str, lines: Sequence[Line], files: Mapping[str, Path]) -> None:
    """Make and judge the sounds of all systems whose file is missing."""
    speaker = None
    if kind == SPOKEN:
        engine = Engine(stages.student)
        speaker = (next(iter(files.values())).parent / "speaker.wav").resolve()
        speaker.parent.mkdir(parents=True, exist_ok=True)
        write_audio(speaker, engine(REFERENCE), RATE)
        make = text_systems(stages, lines, engine)
    else:
        make = real_systems(stages, lines)
    for system, file in files.items():
        if not file.exists():
            sounds = make[system]()
            takes = [Take(one.id, one.reference, sounds[one.id], RATE, one.prompt or speaker) for one in lines]
            write_rows(file, judges(takes))
            print(
                system,
                {name: round(one["value"], 3) for name, one in figures(read_rows(file)).items() if name in FIGURES},
                flush=True,
            )


def render(result: dict[str, Any]) -> str:
    """The page."""
    parts = [
        "# Losses of the voice's stages",
        "What each stage of the embedded voice loses. In brackets: 95% bootstrap intervals over utterances. Of texts, similarity "
        "is to another sentence of the source engine; of recordings, to the prompt, another recording of the speaker. F0 range: "
        "between the 5th and the 95th percentile of an utterance's voiced frames; pauses: seconds an utterance in runs of 0.15 s "
        "or more that are 35 dB below its loud parts.",
    ]
    for part in result["parts"]:
        first = next(iter(part["systems"]))
        what = "sentences" if part["kind"] == SPOKEN else "recordings"
        parts += [
            f"## {SECTIONS.get(part['name'], part['name'])}",
            f"{part['lines']} {what} of {part['set']}.",
            markdown_table(
                ["", *(FIGURES[name][0] for name in FIGURES)],
                [[system, *cells(found, FIGURES)] for system, found in part["systems"].items()],
            ),
            f"Fractions of {first}: " + "; ".join(fractions(part["systems"])) + ".",
        ]
    parts += [
        judged_by(result),
        footnote(result),
    ]
    return "\n\n".join(parts) + "\n"


def fractions(systems: Mapping[str, Any]) -> Iterator[str]:
    """F0 range and pauses of every system but the first, as fractions of the first one's."""
    first, *others = systems.values()
    for name, found in zip(list(systems)[1:], others, strict=True):
        both = (f"{100 * found[key]['value'] / max(first[key]['value'], 1e-9):.0f}%" for key in ("f0_range", "pause"))
        yield f"{name} " + " of the F0 range and ".join(both) + " of the pauses"


if __name__ == "__main__":
    benchmark("voice_stages", __doc__, measure, render, options, None)
