"""Versions of the embedded voice, judged in pairs: sentences, texts of 1 to 62 words in one go, and every voice.

    python benchmarks/versions.py --models NAME=MODEL ... --text SET --lengths SET --speakers DIR --run DIR
        --whisper DIR --campplus FILE [--limit 80] [--only NAME ...] [--device cuda]

The default voice says both sets, every other voice the first `--limit` sentences of the first one that a plain reader knows, all as
`mamtra say` speaks them. The source engine says both sets too. DIR holds SPEAKER.ogg, recordings of the voices' speakers. `--only`
judges some of the models, or the engine: run all of them, perhaps beside each other, then `--collect`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from record import benchmark
from vocoders import AFTER, BEFORE, OTHERS, SHOWN, SPEAKERS, changes, plain_lines, voices_options
from voice_sounds import (
    FIGURES,
    Take,
    VoiceJudges,
    about_run,
    cells,
    figures,
    judged_by,
    read_rows,
    seed_of,
    speak_all,
    write_rows,
)
from voice_stages import ENGINE, RATE, REFERENCE, Engine

from mamtra import TTS
from mamtra.audio.io import write_audio
from mamtra.checkpoints.native import hash_model
from mamtra.evaluate.sets import Line, read_set
from mamtra.runtime.results import markdown_table, page

SENTENCES, LENGTHS = "sentences", "1 to 62 words"
BUCKETS = (4, 12, 20, 30, 40, 62)
"""Most words of a bucket."""

Rows = list[dict[str, Any]]


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record of all that is judged."""
    text, lengths = read_set(args.text), read_set(args.lengths)
    speakers = {one["name"]: one["speaker"] for one in yaml.safe_load(SPEAKERS.read_text(encoding="utf-8"))}
    default, *others = speakers
    groups: dict[str, Sequence[Line]] = {SENTENCES: text.lines, LENGTHS: lengths.lines}
    models = dict(word.split("=", 1) for word in args.models)
    if not args.collect:
        judges = VoiceJudges(args.whisper, args.campplus, args.device)
        about_run(args.run, judges)
        for name in args.only or [ENGINE, *models]:
            judge(args, judges, name, models.get(name), groups, {n: speakers[n] for n in others})
    judged = {
        name: {group: rows for group in (*groups, OTHERS) if (rows := collected(args.run / name, group, others))}
        for name in (ENGINE, *models)
    }
    words = {line.id: len(line.text.split()) for line in lengths.lines}
    yield {
        "default": default,
        "sets": {group: {"name": found.name, "sha256": found.sha256} for group, found in
                 ((SENTENCES, text), (LENGTHS, lengths))},
        "weights": {name: hash_model(place) for name, place in models.items()},
        "lines": {group: len(rows) for group, rows in judged[next(iter(models))].items()},
        "systems": {name: {group: figures(rows) for group, rows in own.items()} for name, own in judged.items()},
        "changes": compared({name: judged[name] for name in models}),
        "by_length": {name: by_length(own[LENGTHS], words) for name, own in judged.items() if LENGTHS in own},
        **about_run(args.run, None),
    }  # fmt: skip


def judge(
    args: argparse.Namespace, judges: VoiceJudges, name: str, model: str | None,
    groups: Mapping[str, Sequence[Line]], others: Mapping[str, str],
) -> None:  # fmt: skip
    """Judge what a model, or the engine, has not said yet; a file of rows for every group and voice.

    Args:
        args: of the command line.
        judges: of the sounds.
        name: of the model.
        model: its directory; None is the engine.
        groups: sets of the default voice.
        others: the speaker of every other voice.
    """
    tts = TTS.load(model, runtime="torch", device=args.device)
    engine = Engine(tts)
    speaker = (args.run / name / "speaker.wav").resolve()
    speaker.parent.mkdir(parents=True, exist_ok=True)
    write_audio(speaker, engine(REFERENCE), RATE)
    plain = plain_lines(groups[SENTENCES], args.limit)
    said = {group: (None, 0, lines, speaker) for group, lines in groups.items()}
    if model is not None:
        for place, (voice, one) in enumerate(others.items(), 1):
            file = args.speakers / f"{one}.ogg"
            said[voice] = (voice, place, plain, file.resolve() if file.exists() else speaker)
    for group, (voice, place, lines, reference) in said.items():
        file = args.run / name / f"{group}.jsonl"
        if file.exists():
            continue
        if model is None:
            sounds = [engine(line.text, number) for number, line in enumerate(lines)]
        else:
            own = tts.voice(voice)
            jobs = [(own, line.text, seed_of(place, number)) for number, line in enumerate(lines)]
            sounds = speak_all(tts.model, jobs)
        takes = [Take(one.id, one.reference, made, RATE, reference) for one, made in zip(lines, sounds, strict=True)]
        write_rows(file, judges(takes))
        shown = figures(read_rows(file))
        print(name, group, {key: round(shown[key]["value"], 3) for key in SHOWN if key in shown}, flush=True)


def collected(folder: Path, group: str, others: Sequence[str]) -> Rows:
    """Rows of a group; those of all other voices together once all are there."""
    if group != OTHERS:
        return read_rows(folder / f"{group}.jsonl")
    found = [read_rows(folder / f"{voice}.jsonl") for voice in others]
    return [row for rows in found for row in rows] if all(found) else []


def compared(judged: Mapping[str, Mapping[str, Rows]]) -> dict[str, Any]:
    """What every model but the first changes, by group."""
    first, *rest = judged
    return {
        name: {
            group: changes({BEFORE: rows, AFTER: judged[name][group]})
            for group, rows in judged[first].items() if group in judged[name]
        }
        for name in rest
    }  # fmt: skip


def by_length(rows: Rows, words: Mapping[str, int]) -> list[dict[str, Any]]:
    """Figures of texts of so many words."""
    edges = (0, *BUCKETS)
    parts = [[row for row in rows if low < words[row["id"]] <= high] for low, high in zip(edges, BUCKETS, strict=False)]
    return [{"most": high, **figures(part)} for high, part in zip(BUCKETS, parts, strict=True) if part]


def other_parts(weights: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Of each version the parts with their hashes; of all but the first only those that are others."""
    first = next(iter(weights))
    return [
        f"{name}: " + (", ".join(
            f"{part.replace('_', ' ')} `{value[:12]}`" for part, value in parts.items()
            if name == first or weights[first].get(part) != value
        ) or f"those of {first}")
        for name, parts in weights.items()
    ]  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=MODEL")
    parser.add_argument("--text", required=True, help="set of sentences")
    parser.add_argument("--lengths", required=True, help="set of texts of many lengths")
    parser.add_argument("--only", nargs="*", metavar="NAME", help=f"models that are judged, or {ENGINE!r}")
    voices_options(parser)


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = []
    for group, lines in result["lines"].items():
        for name, found in result["systems"].items():
            if group in found:
                rows.append([f"{group} ({lines})", name, *cells(found[group], SHOWN)])
        for name, found in result["changes"].items():
            if group in found:
                rows.append([f"{group} ({lines})", f"change, {name}", *cells(found[group], SHOWN)])
    first = next(iter(result["weights"]))
    lengths = [
        [
            name,
            *(f"{one['wer']['value']:.1f} [{one['wer']['ci95'][0]:.1f}, {one['wer']['ci95'][1]:.1f}]" for one in found),
        ]
        for name, found in result["by_length"].items()
    ]
    buckets = next(iter(result["by_length"].values()))
    return page(
        result,
        "# Versions of the embedded voice",
        "The [log of the recipe](../../recipes/mini/log.md) says how each was trained. By the SHA-256 of their weights: "
        f"{'; '.join(other_parts(result['weights']))}. The default "
        f"voice, {result['default']}, says {' and '.join(one['name'] for one in result['sets'].values())}, the other voices plain "
        "sentences. A change is what a model differs by from the first one, "
        f"{first}, with a paired interval. In brackets: 95% bootstrap intervals over lines, whichever voices say them. "
        "Similarity is to another recording of the speaker. F0 range and pauses as on [the page of the stages](voice_stages.md).",
        markdown_table(["said", "version", *(FIGURES[name][0] for name in SHOWN)], rows),
        "## Word errors by length of the text, %",
        markdown_table(["", *(f"to {one['most']} words ({one['utterances']})" for one in buckets)], lengths),
        judged_by(result),
    )


if __name__ == "__main__":
    benchmark("versions", __doc__, measure, render, options, None)
