"""A page of samples to listen to, with spectrograms: voices, a teacher and its students, flows of fewer steps, clones.

    python benchmarks/samples.py --models "teacher (1:0)=models/mini-teacher" --clones META.lst --out PAGE.html

META.lst names recordings of held-out speakers, one in `--every` of which is cloned; the recordings themselves are not on the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mamtra
from mamtra import TTS
from mamtra.evaluate.report_media import inline_media
from mamtra.evaluate.sets import read_set
from mamtra.runtime.files import write_text
from mamtra.runtime.results import circumstances, footnote, shown_command
from mamtra.runtime.templates import render
from mamtra.tts import Audio

TEXT = "Why don't we walk today?"
STEPS = {"3 steps with guidance": ("mini", 3), "2 steps of mini-fast": ("mini-fast", 2)}
Clip = dict[str, Any]


def clip(name: str, sound: Audio, about: str = "") -> Clip:
    """Name, words about it, sound and spectrogram."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.wav"
        sound.save(path)
        return {"name": name, "about": about, **inline_media(path)}


def voices(tts: TTS) -> Iterator[Clip]:
    """Every voice that is included."""
    for name in tts.voices:
        yield clip(name, tts.say(TEXT, name), tts.voice(name).info.description)


def flows() -> Iterator[Clip]:
    """The default voice with fewer steps of the flow than its four."""
    for name, (model, steps) in STEPS.items():
        yield clip(name, mamtra.load(model, runtime="torch", flow_steps=steps).say(TEXT))


def clones(tts: TTS, recordings: Path, every: int) -> Iterator[Clip]:
    """Held-out speakers; the name is that of the recording."""
    for line in read_set(recordings).lines[::every]:
        voice = tts.clone(line.prompt)
        yield clip(line.prompt.stem, tts.say(TEXT, voice))


def models(entries: Sequence[str]) -> Iterator[Clip]:
    """Models, each as NAME=DIR, with the default voice."""
    for entry in entries:
        name, _, directory = entry.partition("=")
        yield clip(name, mamtra.load(directory, runtime="torch").say(TEXT))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=(), metavar="NAME=DIR")
    parser.add_argument("--clones", type=Path)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    tts = mamtra.load(runtime="torch")
    sections = {"Voices": voices(tts), "Other language models": models(args.models), "Fewer steps of the flow": flows()}
    if args.clones:
        sections["Clones of held-out speakers"] = clones(tts, args.clones, args.every)
    heard = {title: found for title, clips in sections.items() if (found := list(clips))}
    made = circumstances(shown_command(["python", "benchmarks/samples.py", *(argv or sys.argv[1:])]))
    write_text(args.out, render(Path(__file__).with_suffix(".html.j2"), text=TEXT, sections=heard, made=footnote(made)))


if __name__ == "__main__":
    main()
