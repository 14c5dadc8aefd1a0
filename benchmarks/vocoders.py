"""Two models that differ in their vocoder alone, judged in pairs: what a new vocoder changes.

    python benchmarks/vocoders.py --before MODEL --after MODEL --text SET --real NAME=SET ... --speakers DIR --run DIR
        --whisper DIR --campplus FILE [--limit 80] [--groups NAME ...] [--device cuda]

Both get the same spectra: of the source engine, of recordings (sets with prompt and ground_truth), and of the flow for what the
voices say: the default one every sentence, the others the first `--limit` that a plain reader knows. DIR holds SPEAKER.ogg,
recordings of the voices' speakers. `--groups` judges some of the groups: run all of them, perhaps beside each other, then
`--collect`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from record import benchmark, judging_options
from voice_sounds import (
    FIGURES,
    Take,
    VoiceJudges,
    about_run,
    cells,
    figures,
    judged_by,
    lines_of,
    read_rows,
    seed_of,
    speak_all,
    write_rows,
)
from voice_stages import ENGINE, RATE, REFERENCE, Engine, Sounds, Stages

from mamtra.audio.io import read_audio, write_audio
from mamtra.checkpoints.native import hash_part
from mamtra.evaluate.sets import Line, read_set
from mamtra.evaluate.statistics import grouped_difference
from mamtra.runtime.results import markdown_table, page

BEFORE, AFTER, ORIGINAL = "before", "after", "original"
PLAIN = ("plain", "plain_set", "plain_short", "plain_long", "harvard")
"""Categories of sentences without figures, names and lists."""
OTHERS = "all other voices"
SPEAKERS = Path(__file__).parents[1] / "recipes" / "mini" / "voices.yaml"
SHOWN = ("wer", "mos", "cam", "ge2e", "f0_range", "pause")

Judged = dict[str, list[dict[str, Any]]]
"""Rows by system."""


def plain_lines(lines: Sequence[Line], limit: int) -> list[Line]:
    """The first lines without figures, names and lists."""
    return [line for line in lines if line.category in PLAIN][:limit]


class Pairs:
    """The sounds of both vocoders, judged and kept in the run folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._opened: dict[str, Stages] = {}
        self.judges = VoiceJudges(args.whisper, args.campplus, args.device)
        about_run(args.run, self.judges)

    def _stages(self, system: str) -> Stages:
        """The model with this vocoder, opened when it is first needed."""
        if system not in self._opened:
            place = str(self._args.after if system == AFTER else self._args.before)
            self._opened[system] = Stages(place, place, self._args.device)
        return self._opened[system]

    def judge(self, groups: Mapping[str, tuple[Sequence[Line], Path]]) -> None:
        """Judge what is missing of groups: the engine, sets of recordings, and voices; with the recording of each one's speaker."""
        first = {name: self._original(name, lines) for name, (lines, _) in groups.items()}
        for system in (ORIGINAL, BEFORE, AFTER):
            files = {name: self._args.run / name / f"{system}.jsonl" for name in groups}
            missing = {name: groups[name][0] for name, file in files.items() if not file.exists()}
            for name, sounds in self._made(system, missing, first).items():
                lines, speaker = groups[name]
                takes = [Take(one.id, one.reference, sounds[one.id], RATE, one.prompt or speaker) for one in lines]
                write_rows(files[name], self.judges(takes))
                found = figures(read_rows(files[name]))
                print(name, system, {key: round(found[key]["value"], 3) for key in SHOWN if key in found}, flush=True)

    def _original(self, name: str, lines: Sequence[Line]) -> Sounds:
        """What both vocoders make again; nothing for a voice."""
        if name == ENGINE:
            engine = Engine(self._stages(BEFORE).student)
            return {line.id: engine(line.text, number) for number, line in enumerate(lines)}
        return {line.id: read_audio(line.ground_truth, RATE)[0] for line in lines if line.ground_truth}

    def _made(
        self, system: str, groups: Mapping[str, Sequence[Line]], first: Mapping[str, Sounds]
    ) -> dict[str, Sounds]:
        """By group; all voices speak in one batch."""
        if system == ORIGINAL:
            return {name: first[name] for name in groups if first[name]}
        stages = self._stages(system)
        made = {name: stages.vocode(first[name]) for name in groups if first[name]}
        said = [name for name in groups if not first[name]]
        jobs = []
        for place, name in enumerate(said):
            voice = stages.student.voice(name)
            jobs += [(voice, line.text, seed_of(place, number)) for number, line in enumerate(groups[name])]
        spoken = iter(speak_all(stages.student.model, jobs) if jobs else [])
        for name in said:
            made[name] = {line.id: next(spoken) for line in groups[name]}
        return made

    def reference(self) -> Path:
        """A sentence of the source engine, to compare its speaker with."""
        path = (self._args.run / "speaker.wav").resolve()
        if not path.exists():
            write_audio(path, Engine(self._stages(BEFORE).student)(REFERENCE), RATE)
        return path


def changes(rows: Judged) -> dict[str, Any]:
    """After minus before of every figure that both have, with its paired 95% interval."""
    found = {}
    for name in SHOWN:
        pairs = [
            (one, two) for one, two in zip(rows[BEFORE], rows[AFTER], strict=True)
            if name == "wer" or (name in one and name in two)
        ]  # fmt: skip
        if pairs:
            groups = lines_of([one for one, _ in pairs])
            columns = [
                (
                    np.array([100 * row["errors"] if name == "wer" else row[name] for row in own], float),
                    np.array([row["words"] if name == "wer" else 1 for row in own], float),
                    groups,
                )
                for own in zip(*pairs, strict=True)
            ]
            value, spread = grouped_difference(*columns)
            found[name] = {"value": value, "ci95": spread}
    return found


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record of all groups that are judged."""
    text = read_set(args.text)
    plain = plain_lines(text.lines, args.limit)
    voices = {one["name"]: one["speaker"] for one in yaml.safe_load(SPEAKERS.read_text(encoding="utf-8"))}
    default = next(iter(voices))
    groups: dict[str, Sequence[Line]] = {ENGINE: text.lines, default: text.lines}
    groups.update({name: plain for name in voices if name != default})
    sets = {name: read_set(place) for name, place in (word.split("=", 1) for word in args.real)}
    groups.update({name: found.lines for name, found in sets.items()})
    pairs = None if args.collect else Pairs(args)
    if pairs:
        known = {name: args.speakers / f"{speaker}.ogg" for name, speaker in voices.items()}
        spoken = {name: file.resolve() for name, file in known.items() if file.exists()}
        reference = pairs.reference()
        pairs.judge({name: (groups[name], spoken.get(name, reference)) for name in args.groups or groups})
    judged: dict[str, Judged] = {}
    for name in groups:
        rows = {system: read_rows(args.run / name / f"{system}.jsonl") for system in (ORIGINAL, BEFORE, AFTER)}
        if rows[BEFORE] and rows[AFTER]:
            judged[name] = rows
    others = [judged[name] for name in voices if name != default and name in judged]
    if others:
        judged[OTHERS] = {system: [row for one in others for row in one[system]] for system in (BEFORE, AFTER)}
    found = {name: summary(rows) for name, rows in judged.items()}
    hashes = {name: hash_part(place, "vocoder") for name, place in
              ((BEFORE, args.before), (AFTER, args.after))}  # fmt: skip
    about = {"set": text.name, "sha256": text.sha256, "vocoders": hashes, "default": default}
    yield {**about, "groups": found, **about_run(args.run, pairs.judges if pairs else None)}


def summary(rows: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Figures of every system, and the changes."""
    systems = {system: figures(own) for system, own in rows.items() if own}
    return {"lines": len(rows[BEFORE]), "systems": systems, "change": changes(dict(rows))}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--text", required=True, help="set of sentences")
    parser.add_argument("--real", nargs="*", default=[], metavar="NAME=SET", help="sets with recordings")
    parser.add_argument("--groups", nargs="*", metavar="NAME", help=f"{ENGINE!r}, voices and sets of recordings")
    voices_options(parser)


def voices_options(parser: argparse.ArgumentParser) -> None:
    """Of the benchmarks that judge every voice."""
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=80, help="plain sentences of every voice but the default one")
    judging_options(parser)


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = []
    for name, found in result["groups"].items():
        if ORIGINAL in found["systems"] or name in (result["default"], OTHERS):
            rows += [[name, system, *cells(own, SHOWN)] for system, own in found["systems"].items()]
        rows.append([name, "change", *cells(found["change"], SHOWN)])
    lines = ", ".join(f"{name} {found['lines']}" for name, found in result["groups"].items())
    hashes = " and ".join(f"`{result['vocoders'][name][:12]}` ({name})" for name in (BEFORE, AFTER))
    parts = [
        "# Two vocoders",
        f"What changes when the embedded voice gets another vocoder; the [log of the recipe](../../recipes/mini/log.md) says where "
        f"it comes from and what became of it. Vocoders {hashes}, by their SHA-256. Both get the same spectra of development "
        f"sentences ({result['set']}) and recordings: those of the {ENGINE} and of the recordings themselves, and those that the "
        f"flow makes of the same tokens in each voice; {result['default']} is the default one. "
        "Similarity is to another recording of the speaker. In brackets: 95% bootstrap intervals over utterances, "
        "of changes paired ones; of a single one of the other voices only the change is shown. F0 range and pauses as on [the page "
        "of the stages](voice_stages.md).",
        markdown_table(["sound", "vocoder", *(FIGURES[name][0] for name in SHOWN)], rows),
        f"Utterances: {lines}.",
        judged_by(result),
    ]
    return page(result, *parts)


if __name__ == "__main__":
    benchmark("vocoders", __doc__, measure, render, options, None)
