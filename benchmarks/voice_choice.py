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

from record import benchmark
from voice_sounds import FIGURES, Take, VoiceJudges, about_run, cells, figures, read_rows, write_rows

from mamtra import TTS
from mamtra.evaluate.sets import Line, read_set
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.batch import speak_texts
from mamtra.synthesis.retries import AGAIN
from mamtra.voices.voice import Voice

WEIGHTS = {"wer": -1.0, "mos": 10.0, "cam": 20.0}
"""Of a candidate's score: a point of WER, 0.1 of DistilMOS and 0.05 of CAM++'s similarity weigh the same."""
SHOWN = ("wer", "mos", "cam", "ge2e", "f0_range")


def score(found: dict[str, Any]) -> float:
    """Of a candidate; higher is better."""
    return sum(weight * found[name]["value"] for name, weight in WEIGHTS.items())


class Sayer:
    """Candidates and voices that say lines, and their judged rows in the run folder.

    Args:
        args: of the command line.
        lines: of the set.
    """

    def __init__(self, args: argparse.Namespace, lines: Sequence[Line]) -> None:
        self._args, self._lines = args, lines
        self.judges: VoiceJudges | None = None
        self.tts: TTS | None = None

    def __call__(self, name: str, voice: Path | str, speaker: str, first: int | None = None) -> list[dict[str, Any]]:
        """Rows of a voice, of the first lines or of all.

        Args:
            name: of the file of rows.
            voice: file, or name of a voice of the model.
            speaker: whose recordings it is compared with; without recordings it is not compared.
            first: lines.
        """
        path, lines = self._args.run / f"{name}.jsonl", self._lines[:first]
        rows = read_rows(path)
        missing = lines[len(rows) :]
        if missing:
            if self.judges is None or self.tts is None:
                self.judges = VoiceJudges(self._args.whisper, self._args.campplus, self._args.device)
                self.tts = TTS.load(self._args.model, runtime="torch", device=self._args.device)
            found = Voice.load(voice) if isinstance(voice, Path) else self.tts.voice(voice)
            recording = self._args.speakers / f"{speaker}.ogg"
            known = recording.resolve() if recording.exists() else None
            spoken = speak_texts(self.tts.model, found, [line.text for line in missing], retries=AGAIN)
            takes = [
                Take(missing[at].id, missing[at].reference, wave, self.tts.sample_rate, known) for at, wave in spoken
            ]
            rows += self.judges(takes)
            write_rows(path, rows)
            print(
                name, {key: round(one["value"], 3) for key, one in figures(rows).items() if key in FIGURES}, flush=True
            )
        return rows[: len(lines)]


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record of all speakers."""
    found = read_set(args.set, args.limit)
    say, (part, parts) = Sayer(args, found.lines), map(int, args.part.split("/"))
    files = sorted(args.candidates.glob("*.safetensors"))
    speakers = sorted({file.stem.rpartition("-")[0] for file in files})
    result: dict[str, Any] = {"candidates": {}, "speakers": {}, "voices": {}}
    present = sorted(file.stem for file in TTS.load(args.model).model.directory.glob("voices/*.safetensors"))
    for name in present[part::parts]:
        result["voices"][name] = figures(say(name, name, dict(word.split("=") for word in args.of).get(name, "")))
    for speaker in speakers[part::parts]:
        own = {file.stem: file for file in files if file.stem.rpartition("-")[0] == speaker}
        tried = {name: figures(say(name, file, speaker, args.first)) for name, file in own.items()}
        best = max(tried, key=lambda name: score(tried[name]))
        result["candidates"] |= tried
        result["speakers"][speaker] = {"candidate": best, "figures": figures(say(best, own[best], speaker))}
    about = {"set": found.name, "sha256": found.sha256, "lines": len(found.lines), "first": args.first}
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
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--whisper", required=True)
    parser.add_argument("--campplus", type=Path, required=True)
    parser.add_argument("--device", default="cuda")


def render(result: dict[str, Any]) -> str:
    """The page."""
    heads = [FIGURES[name][0] for name in SHOWN]

    def row(name: str, found: dict[str, Any]) -> list[str]:
        return [name, *cells(found, SHOWN), f"{score(found):.1f}" if "cam" in found else ""]

    voices = [row(name, found) for name, found in result["voices"].items()]
    speakers = [row(one["candidate"], one["figures"]) for one in result["speakers"].values()]
    candidates = [row(name, found) for name, found in result["candidates"].items()]
    judges = result["judges"]
    parts = [
        "# Choice of the voices",
        f"{result['lines']} lines of {result['set']}, development text. Every candidate voice is made of one prompt of a synthetic "
        "speaker; the LM speaks the same tokens for all that do not continue their prompt (names that end in c do), so that only "
        "the flow tells them apart. Similarity is to other recordings of the speaker. In brackets: 95% intervals over lines. "
        "Score: ten times DistilMOS, less the WER, and twenty times CAM++'s similarity; the best candidate of a speaker is its "
        "highest. The choice is made on these lines, so the figures of the chosen ones are a little too good.",
        "## Voices that come with the model",
        markdown_table(["voice", *heads, "score"], voices),
        "## Best candidate of each speaker",
        markdown_table(["candidate", *heads, "score"], speakers),
        f"## All candidates, first {result['first']} lines",
        markdown_table(["candidate", *heads, "score"], candidates),
        f"ASR: {judges['asr']}, {judges['rule']}; {', '.join(judges['judges'])}; on {result['gpu'] or 'a CPU'}.",
        footnote(result),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    benchmark("voice_choice", __doc__, measure, render, options, None)
