"""How much of the past the streaming flow needs: quality by the length of its window, from the same speech tokens.

    python benchmarks/flow_window.py --run DIR --whisper DIR --development FILE... --held-out FILE... [--long FILE] [--minutes 8]
        [--out docs/results/flow_window.json]

Every variant streams the same tokens, in the hops of `mamtra say --stream`: with all of the past (the first variant), or with a
window of so many mel frames besides the voice's prompt. Lines of the file `--long` are joined to segments of 30 to 60 s, whose
tokens go through the flow in one go. Judges are those of `mamtra evaluate`. A window is as good as everything where, on the
development lines, the interval of the difference lies within the margins below; the held-out lines say whether that holds. What is
done is kept in the run folder; a run continues where it stopped, and lines whose hops were measured before are heard as they come
from one pass, which gives the same mel. A few sounds are kept with the score files, DIR/VARIANT.jsonl, to
be heard side by side: `mamtra report DIR/{all,200}.jsonl -o FILE`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired_scores import (
    DEVELOPMENT,
    HELD_OUT,
    TokenCache,
    about_judges,
    about_sets,
    append_row,
    compare,
    lines_with_prompt,
    open_paired,
    paired_options,
    paired_table,
    read_rows,
    read_sets,
    reference_sound,
    trimmed,
)
from record import benchmark
from worker_pool import made

from mamtra import load
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.history import Span
from mamtra.evaluate.score_file import ScoreFile
from mamtra.evaluate.sets import Line
from mamtra.evaluate.statistics import interval, ratio, resamples
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.token2wav import voice_inputs

VARIANTS = {"all": (0, 0), "200": (200, 0), "128": (128, 0), "100": (100, 0), "50": (50, 0)}
"""Window and first frames kept."""
MARGINS = {"wer_english": 0.3, "mos": 0.05, "similarity_to_prompt": 0.01}
LONG_WORDS = 100
"""Of a long segment, at least; about 35 s."""
END = 50
"""Frames that count as the end of an utterance."""
LONG = "long segments"
KEPT = 2
"""Lines of each set whose sounds are kept."""


class Streams:
    """Streams behind the prompt of a voice, one for each variant."""

    def __init__(self, model: Any, voice: Any) -> None:
        self._model, self._prompt = model, len(voice.prompt_speech)
        self._spans = {name: Span.of(model.flow.config, self._prompt, *kept) for name, kept in VARIANTS.items()}
        options = {"steps": model.generation.flow_steps}
        self._begun = {
            name: FlowStream(model.flow, *voice_inputs(model, voice), history=history, sinks=sinks, **options)
            for name, (history, sinks) in VARIANTS.items()
        }
        for stream in self._begun.values():
            stream.push(self._row([]))

    def cuts(self, name: str, tokens: int) -> bool:
        """Whether a variant sees less than everything somewhere in so many tokens."""
        span, total = self._spans[name], self._prompt + tokens
        last = max(0, total - 1) // span.chunk * span.chunk
        return span.runs(total - last, last) != [range(total)]

    def mel(self, name: str, tokens: list[int]) -> tuple[torch.Tensor, list[int], int]:
        """Mel (mel, frames), the frames at which its hops after the first begin, and private bytes of the stream before its end."""
        stream, schedule, at = self._begun[name].fork(), HopSchedule(), 0
        pieces: list[torch.Tensor] = []
        while len(tokens) - at >= (count := stream.wanted(schedule.least(len(pieces)))):
            pieces.append(stream.push(self._row(tokens[at : at + count])))
            at += count
        held = stream.private_bytes
        pieces.append(stream.push(self._row(tokens[at:]), final=True))
        seams = np.cumsum([piece.shape[2] for piece in pieces])[:-1].tolist()
        return torch.cat(pieces, dim=2)[0].cpu(), seams, held

    def at_once(self, name: str, tokens: list[int]) -> torch.Tensor:
        """Mel (mel, frames) as that of hops, from one pass."""
        return self._begun[name].fork().push(self._row(tokens), final=True)[0].cpu()

    def _row(self, tokens: list[int]) -> torch.Tensor:
        return torch.tensor([tokens], dtype=torch.int64, device=self._model.device)

    @torch.inference_mode()
    def sound(self, mel: torch.Tensor) -> np.ndarray:
        """Samples (T,), trimmed as they are played."""
        vocoder, device = self._model.vocoder, self._model.device
        noise = vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[1] * vocoder.config.hop)
        return trimmed(
            vocoder.inference(mel[None].to(device), noise=noise.to(device)).reshape(-1).cpu().numpy(),
            self._model.sample_rate,
        )


def facts_of(mel: torch.Tensor, whole: torch.Tensor, seams: Sequence[int], held: int) -> dict[str, Any]:
    """Jumps of the log mel from frame to frame (mean over bins, of their absolute values), and how far it is from that of all."""
    jumps = (mel[:, 1:] - mel[:, :-1]).abs().mean(0)
    at = torch.tensor([seam - 1 for seam in seams if 0 < seam < mel.shape[1]], dtype=torch.int64)
    elsewhere = torch.ones(len(jumps), dtype=torch.bool)
    elsewhere[at] = False
    off = (mel - whole).square().mean(0)
    return {
        "frames": mel.shape[1],
        "private_bytes": held,
        "seams": len(at),
        "jump_at_seams": float(jumps[at].sum()),
        "jump_elsewhere": float(jumps[elsewhere].sum()),
        "distance": float(off.sum()),
        "distance_by_10_s": [float(part.mean()) for part in off.split(500)],
        "distance_at_end": float(off[-END:].sum()),
        "level_at_end": float((mel - whole)[:, -END:].mean()),
    }


def joined(lines: Sequence[Line]) -> list[Line]:
    """Neighbouring lines in segments of `LONG_WORDS` words or more; the rest is left out."""
    found, waiting = list[Line](), list[Line]()
    for line in lines:
        waiting.append(line)
        if sum(len(part.reference.split()) for part in waiting) >= LONG_WORDS:
            text, reference = (" ".join(getattr(part, name) for part in waiting) for name in ("text", "reference"))
            found.append(replace(waiting[0], id=f"long-{waiting[0].id}", text=text, reference=reference))
            waiting = []
    return found


def read_lines(args: argparse.Namespace, prompt: Path) -> tuple[dict[str, list[Line]], dict[str, Any]]:
    """Lines by set, and what the sets are; lines of fewer words than `--words` are left out, for they fit into any window."""
    sets, about = read_sets(args, prompt)
    sets = {name: [line for line in lines if len(line.reference.split()) >= args.words] for name, lines in sets.items()}
    sets[LONG] = []
    if args.long:
        lines, found = lines_with_prompt(args.long, prompt)
        sets[LONG] = joined(lines)[: args.segments]
        about.append(found)
    return sets, {"sets": about}


class Maker:
    """Samples of all variants of a line; tokens and facts are written."""

    def __init__(self, model: str | None, name: str | None, device: str, tokens: Path, facts: Path) -> None:
        tts = load(model, device=device)
        voice = tts.voice(name)
        self._tokens_of, self._streams, self._facts = TokenCache(tokens, tts, voice), Streams(tts.model, voice), facts
        self._measured = {row["id"] for row in read_rows(facts)}

    def __call__(self, line: Line) -> dict[str, np.ndarray]:
        tokens, streams = self._tokens_of(line), self._streams
        some = ["all", *(name for name in VARIANTS if name != "all" and streams.cuts(name, len(tokens)))]
        if line.id in self._measured:
            mels = {name: streams.at_once(name, tokens) for name in some}
        else:
            hops = {name: streams.mel(name, tokens) for name in some}
            mels = {name: mel for name, (mel, _, _) in hops.items()}
            for name in VARIANTS:
                mel, seams, held = hops.get(name, hops["all"])
                append_row(self._facts, {"id": line.id, "variant": name, **facts_of(mel, mels["all"], seams, held)})
        sounds = {name: streams.sound(mel) for name, mel in mels.items()}
        return {name: sounds.get(name, sounds["all"]) for name in VARIANTS}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The whole benchmark."""
    torch.set_num_threads(args.threads)
    tts = load(args.model, device=args.speaker_device)
    voice = tts.voice(args.voice)
    sets, about = read_lines(args, reference_sound(args.run, tts, voice))
    scores = open_paired(args, list(VARIANTS))
    facts = args.run / "facts.jsonl"
    kept = {line.id for lines in sets.values() for line in lines[:KEPT]}
    turns = [line for line in chain(*zip_longest(*spread_out(sets))) if line is not None and not scores.has(line)]
    if args.workers:
        turns.sort(key=lambda line: line not in sets[LONG])  # no worker begins a long one last
    given = (args.model, args.voice, args.speaker_device, args.run / "tokens.jsonl", facts)
    for line, sounds in made(Maker, given, turns, args.workers, args.minutes):
        scores.add(line, sounds, tts.sample_rate, keep=line.id in kept)
    scores.judge()
    model = {"name": tts.model.name, "voice": voice.name, "prompt_tokens": len(voice.prompt_speech)}
    model["flow_steps"] = tts.model.generation.flow_steps
    yield {"seed": 0, "model": model, **about, "judges": scores.about, **results(scores.files, read_rows(facts), sets)}


def spread_out(sets: Mapping[str, list[Line]]) -> list[list[Line | None]]:
    """The sets, the shorter ones with gaps, so that what is done after any time is a fair part of each."""
    longest = max(map(len, sets.values()))
    spread: list[list[Line | None]] = []
    for lines in sets.values():
        row: list[Line | None] = [None] * longest
        for number, line in enumerate(lines):
            row[number * longest // len(lines)] = line
        spread.append(row)
    return spread


def results(
    files: Mapping[str, ScoreFile], facts: Sequence[Mapping[str, Any]], sets: Mapping[str, list[Line]]
) -> dict[str, Any]:
    """Everything measured so far, by set and for the short lines together; lines may be streamed but not yet judged."""
    made = {(row["id"], row["variant"]) for row in facts}
    ids = {
        name: [line.id for line in lines if all((line.id, variant) in made for variant in VARIANTS)]
        for name, lines in sets.items()
    }
    ids = {"all lines": ids[DEVELOPMENT] + ids[HELD_OUT], **ids}
    found = {
        name: {"streamed": len(some), **compare(files, some), "sound": sounds_of(facts, some)}
        for name, some in ids.items()
        if some
    }
    return {"variants": VARIANTS, "margins": MARGINS, "results": found, "as_good": as_good(found)}


def sounds_of(facts: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> dict[str, Any]:
    """Facts of each variant over some lines; jumps at seams over those elsewhere, with the interval of the difference to `all`."""
    by_key = {(row["id"], row["variant"]): row for row in facts}
    picked, found, first = resamples(len(ids)), dict[str, Any](), None
    for name in VARIANTS:
        rows = [by_key[key, name] for key in ids]

        def column(key: str, rows: list[Mapping[str, Any]] = rows) -> np.ndarray:
            return np.array([row[key] for row in rows], float)

        frames, seams = column("frames"), column("seams")
        parts = ((column("jump_at_seams"), seams), (column("jump_elsewhere"), frames - 1 - seams))
        once = [float(ratio(*part)) for part in parts]
        spread = np.divide(*(ratio(*part, picked) for part in parts))
        first = spread if first is None else first
        length = max(len(row["distance_by_10_s"]) for row in rows)
        found[name] = {
            "jump_ratio": once[0] / max(once[1], 1e-12),
            "jump_ratio_difference_ci95": interval(spread - first),
            "rms": float(np.sqrt(ratio(column("distance"), frames))),
            "rms_at_end": float(np.sqrt(ratio(column("distance_at_end"), np.minimum(frames, END)))),
            "level_at_end": float(column("level_at_end").mean()),
            "rms_by_10_s": [
                float(np.sqrt(np.mean([r["distance_by_10_s"][i] for r in rows if len(r["distance_by_10_s"]) > i])))
                for i in range(length)
            ],
            "most_private_bytes": int(column("private_bytes").max()),
        }
    return found


def as_good(found: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """Whether the whole interval of each figure's difference is on the right side of the margin, by set and variant."""

    def passes(figures: Mapping[str, Any]) -> bool:
        worst = {"wer_english": figures["wer_english"]["difference_ci95"][1]}
        worst |= {key: -figures[key]["difference_ci95"][0] for key in ("mos", "similarity_to_prompt")}
        return all(worst[key] <= margin for key, margin in MARGINS.items())

    return {
        name: {variant: passes(row["figures"]) for variant, row in part["variants"].items() if variant != "all"}
        for name, part in found.items()
        if part["utterances"]
    }


def render(result: Mapping[str, Any]) -> str:
    """The page, from the record alone."""
    model, margins = result["model"], result["margins"]
    parts = [
        "# What the streaming flow sees of the past\n",
        f"Model {model['name']}, voice {model['voice']} with a prompt of {model['prompt_tokens']} tokens,",
        f"{model['flow_steps']} flow steps. Variants: frames (of 20 ms) of the window before a chunk; `all` has none.",
        "All say the same speech tokens in the same hops. `changed`: lines that",
        "sound different from `all`; differences to `all` are paired. In brackets: 95% bootstrap intervals over lines.\n",
    ]
    for name, part in result["results"].items():
        parts += [
            f"## {name[0].upper()}{name[1:]}: {part['streamed']}, {part['utterances'] or 'none'} of them judged\n"
        ]
        if part["utterances"]:
            good = ", ".join(variant for variant, yes in result["as_good"][name].items() if yes) or "none"
            parts += [
                paired_table(part),
                f"\nAs good as `all` (WER at most {margins['wer_english']} points higher, DistilMOS {margins['mos']} and "
                f"similarity {margins['similarity_to_prompt']} lower, at the unfavourable end of each interval): {good}.\n",
            ]
        parts += [sound_table(part["sound"]), ""]
    longest = result["results"].get(LONG, {}).get("sound")
    if longest:
        count = max(len(row["rms_by_10_s"]) for row in longest.values())
        rows = [
            (name, *(f"{value:.3f}" for value in row["rms_by_10_s"])) for name, row in longest.items() if name != "all"
        ]
        parts += [
            "## Distance to `all` in a long segment, by 10 s\n",
            markdown_table(("", *(f"{10 * i} to {10 * i + 10} s" for i in range(count))), rows),
            "",
        ]
    judged = any(part["utterances"] for part in result["results"].values())
    judges = f"; {about_judges(result['judges'])}".removesuffix(".") if judged else ""
    parts += [
        "## How it was measured\n",
        "Jumps: mean absolute change of the log mel from frame to frame where a hop begins, over that elsewhere; distances: RMS of "
        f"the log mel's difference to `all`, its last {END} frames, and their mean difference. Memory: keys, values and inputs of "
        "a stream beyond its voice's shared prompt, the most of any line.\n",
        f"Sets: {about_sets(result['sets'])}{judges}.\n",
        footnote(result),
        "",
    ]
    return "\n".join(parts)


def sound_table(sound: Mapping[str, Any]) -> str:
    """Seams, distances, the end and memory, a row a variant."""
    rows = [
        (
            name,
            f"{row['jump_ratio']:.3f}",
            "[{:+.3f}, {:+.3f}]".format(*row["jump_ratio_difference_ci95"]) if name != "all" else "",
            f"{row['rms']:.3f}",
            f"{row['rms_at_end']:.3f}",
            f"{row['level_at_end']:+.3f}",
            f"{row['most_private_bytes'] / 2**20:.0f}",
        )
        for name, row in sound.items()
    ]
    heads = ("", "jumps at seams", "difference", "distance", "at the end", "level at the end", "memory, MiB")
    return markdown_table(heads, rows)


def options(parser: argparse.ArgumentParser) -> None:
    paired_options(parser)
    parser.add_argument("--long", help="set whose lines are joined")
    parser.add_argument("--segments", type=int, help="of those, at most")
    parser.add_argument("--words", type=int, default=1, help="of a line, at least")
    parser.add_argument("--model", help="model directory or name; default: the built-in one")
    parser.add_argument("--voice", help="default: that of the model")


def main(argv: list[str] | None = None) -> None:
    benchmark("flow_window", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
