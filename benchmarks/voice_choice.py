"""Which prompt of which synthetic speaker makes the best voice: every candidate says the same sentences and is judged.

    python benchmarks/voice_choice.py --candidates DIR --speakers DIR --set SET --run DIR --whisper DIR --campplus FILE
        [--first 40] [--part I/N] [--device cuda]

DIR holds SPEAKER-N.safetensors, voices made by recipes/mini/make_voices.py from several prompts of each speaker (SPEAKER-Nc: the LM
continues the prompt), and SPEAKER.ogg, other recordings of the speakers to compare with. Every candidate says the first lines of
the set; the best one of each speaker says all of it, and so do the voices that come with the model. `--part` judges a part of the
speakers: run all parts, then once without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from mamtra.evaluate.sets import Line, read_set
from mamtra.runtime.results import markdown_table, page
from mamtra.voices.voice import Voice

WEIGHTS = {"wer": -1.0, "mos": 10.0, "cam": 20.0}
"""Of a candidate's score: a point of WER, 0.1 of DistilMOS and 0.05 of CAM++'s similarity weigh the same."""
AT_ONCE = 512
"""Utterances that are spoken and judged before their rows are written."""
SHOWN = ("wer", "mos", "cam", "ge2e", "f0_range")


def score(found: dict[str, Any]) -> float:
    """Of a candidate; higher is better."""
    return sum(weight * found[name]["value"] for name, weight in WEIGHTS.items())


class Sayer:
    """Voices that say lines, and their judged rows in the run folder."""

    def __init__(self, args: argparse.Namespace, lines: Sequence[Line]) -> None:
        self._args, self._lines = args, lines
        self.judges: VoiceJudges | None = None
        self._tts: TTS | None = None

    def __call__(self, voices: dict[str, tuple[Path | str, str]], first: int | None = None) -> dict[str, Any]:
        """Figures of voices, by the names of their files of rows.

        Args:
            voices: file, or name of a voice of the model, and speaker, without whose recordings it is not compared.
            first: lines that are said; all by default.
        """
        lines = self._lines[:first]
        rows = {name: read_rows(self._args.run / f"{name}.jsonl") for name in voices}
        if self._args.collect:
            return {name: figures(own[: len(lines)]) for name, own in rows.items() if len(own) >= len(lines)}
        jobs = [(name, line, n) for n, line in enumerate(lines) for name in voices if n >= len(rows[name])]
        for at in range(0, len(jobs), AT_ONCE):
            for (name, _, _), row in zip(jobs[at:], self._judged(jobs[at : at + AT_ONCE], voices), strict=False):
                rows[name].append(row)
            for name, own in rows.items():
                write_rows(self._args.run / f"{name}.jsonl", own)
        found = {name: figures(own[: len(lines)]) for name, own in rows.items()}
        for name, one in found.items():
            print(name, {key: round(one[key]["value"], 3) for key in FIGURES if key in one}, flush=True)
        return found

    def _judged(
        self, jobs: Sequence[tuple[str, Line, int]], voices: dict[str, tuple[Path | str, str]]
    ) -> list[dict[str, Any]]:
        if self.judges is None or self._tts is None:
            self.judges = VoiceJudges(self._args.whisper, self._args.campplus, self._args.device)
            about_run(self._args.run, self.judges)
            self._tts = TTS.load(self._args.model, runtime="torch", device=self._args.device)
        tts, known = self._tts, {name for name, _, _ in jobs}
        opened = {
            name: Voice.load(place) if isinstance(place, Path) else tts.voice(place)
            for name, (place, _) in voices.items()
            if name in known
        }
        spoken = speak_all(tts.model, [(opened[name], line.text, seed) for name, line, seed in jobs])
        takes = []
        for (name, line, _), wave in zip(jobs, spoken, strict=True):
            path = self._args.speakers / f"{voices[name][1]}.ogg"
            speaker = path.resolve() if path.exists() else None
            takes.append(Take(f"{name}/{line.id}", line.reference, wave, tts.sample_rate, speaker))
        return self.judges(takes)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record of all speakers."""
    found = read_set(args.set, args.limit)
    say, (part, parts) = Sayer(args, found.lines), map(int, args.part.split("/"))
    files = {file.stem: file for file in sorted(args.candidates.glob("*.safetensors"))}
    speakers = sorted({name.rpartition("-")[0] for name in files})[part::parts]
    of = dict(word.split("=") for word in args.of)
    tried = say(
        {n: (f, n.rpartition("-")[0]) for n, f in files.items() if n.rpartition("-")[0] in speakers}, args.first
    )
    best = {
        speaker: max((n for n in tried if n.rpartition("-")[0] == speaker), key=lambda name: score(tried[name]))
        for speaker in speakers
    }
    full = say({name: (files[name], speaker) for speaker, name in best.items()})
    present = sorted(file.stem for file in TTS.load(args.model).model.directory.glob("voices/*.safetensors"))[
        part::parts
    ]
    voices = say({name: (name, of.get(name, "")) for name in present})
    about = {"set": found.name, "sha256": found.sha256, "lines": len(found.lines), "first": args.first}
    chosen = {speaker: {"candidate": name, "figures": full[name]} for speaker, name in best.items() if name in full}
    result = {"candidates": tried, "speakers": chosen, "voices": voices}
    yield {"model": args.model, **about, **result, **about_run(args.run, say.judges)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--candidates", type=Path, required=True)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--of", nargs="*", default=[], metavar="VOICE=SPEAKER", help="speakers of the model's voices")
    parser.add_argument("--set", required=True)
    parser.add_argument("--limit", type=int, help="lines of the set")
    parser.add_argument("--first", type=int, default=40, help="lines that every candidate says")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="judge every Nth speaker, from I")
    judging_options(parser)


def render(result: dict[str, Any]) -> str:
    """The page."""
    heads = [FIGURES[name][0] for name in SHOWN]

    def row(name: str, found: dict[str, Any]) -> list[str]:
        return [name, *cells(found, SHOWN), f"{score(found):.1f}" if "cam" in found else ""]

    voices = [row(name, found) for name, found in result["voices"].items()]
    speakers = [row(one["candidate"], one["figures"]) for one in result["speakers"].values()]
    candidates = [row(name, found) for name, found in result["candidates"].items()]
    present = (
        ["## Voices that come with the model", markdown_table(["voice", *heads, "score"], voices)] if voices else []
    )
    parts = [
        "# Choice of the voices",
        f"{result['lines']} lines of {result['set']}, development text. Every candidate voice is made of one prompt of a synthetic "
        "speaker; the LM speaks the same tokens for all that do not continue their prompt (names that end in c do), so that only "
        "the flow tells them apart. Similarity is to other recordings of the speaker. In brackets: 95% intervals over lines. "
        "Score: ten times DistilMOS, less the WER, and twenty times CAM++'s similarity; the best candidate of a speaker is its "
        "highest. The choice is made on these lines, so the figures of the chosen ones are a little too good.",
        *present,
        "## Best candidate of each speaker",
        markdown_table(["candidate", *heads, "score"], speakers),
        f"## All candidates, first {result['first']} lines",
        markdown_table(["candidate", *heads, "score"], candidates),
        judged_by(result),
    ]
    return page(result, *parts)


if __name__ == "__main__":
    benchmark("voice_choice", __doc__, measure, render, options, None)
