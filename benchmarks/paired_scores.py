"""Several ways of turning the same speech tokens into sound, judged in pairs: what the benchmarks of the flow share.

The LM speaks every line once; each variant makes its own sound of these tokens. The judges are those of `mamtra evaluate`; a
variant has its own score file in the run folder, so a run continues where it stopped, and equal sounds are judged once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mamtra import TTS
from mamtra.audio.io import write_audio
from mamtra.audio.trim import EdgeTrimmer
from mamtra.evaluate.judges.asr import FasterWhisper, open_transcriber
from mamtra.evaluate.judges.models import DistilMOS
from mamtra.evaluate.judges.optional import open_speaker_encoder
from mamtra.evaluate.judges.whisper_transformers import TransformersWhisper
from mamtra.evaluate.score_file import ScoreFile, open_scores, row_key
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import Line, read_set
from mamtra.evaluate.summary import compare_scores, summarise
from mamtra.evaluate.systems import Spoken
from mamtra.runtime.results import markdown_table
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.sentence import best_run
from mamtra.voices.voice import Voice

FIGURES = {"wer_english": ("WER %", 2), "mos": ("DistilMOS", 3), "similarity_to_prompt": ("similarity", 4)}
DEVELOPMENT, HELD_OUT = "development", "held out"
REFERENCE = "The library opens at nine, and the garden behind it stays open until the evening."
"""Said offline by the voice, to compare the speaker with."""


class TokenCache:
    """Speech tokens of lines, kept in a file of JSON lines."""

    def __init__(self, path: Path, tts: TTS, voice: Voice) -> None:
        self._path, self._tts, self._request = path, tts, Request(tts.model, voice)
        self._kept = {row["id"]: row["tokens"] for row in read_rows(path)}

    def __call__(self, line: Line) -> list[int]:
        """Tokens of a line with seed 0, those of all its segments in one row: the runs of the LM that `say` keeps."""
        if line.id not in self._kept:
            segments = enumerate(self._tts.model.text.segments(line.text))
            runs = [best_run(self._request, list(segment.ids), index) for index, segment in segments]
            self._kept[line.id] = [token for run in runs if run for token in run.tokens]
            append_row(self._path, {"id": line.id, "tokens": self._kept[line.id]})
        return self._kept[line.id]


class PairedScores:
    """Score files of some variants.

    Args:
        folder: of the run.
        variants: names; the first is what the others are compared with.
        whisper: see `mamtra.evaluate.judges.asr.open_transcriber`.
        threads: of the CPU.
        fast: the transcriber in 16 bits on a GPU, or, of CTranslate2, in int8 with a greedy search; else in float32 with a beam.
        device: of the judges; a Whisper of CTranslate2 stays on the CPU.
        encoder: that compares speakers, see `mamtra.evaluate.judges.optional.open_speaker_encoder`.
    """

    def __init__(
        self,
        folder: Path,
        variants: Sequence[str],
        whisper: str,
        threads: int,
        *,
        fast: bool = False,
        device: str = "cpu",
        encoder: str | None = None,
    ) -> None:
        self._folder, self._given = folder, _Given()
        self._waiting: list[_Made] = []
        if not fast:
            transcriber = open_transcriber(whisper, threads, device)
        elif (Path(whisper) / "model.bin").exists():
            transcriber = FasterWhisper(whisper, threads, "int8", 1)
        else:
            transcriber = TransformersWhisper(whisper, device, "float16")
        self._together = getattr(transcriber, "batch_size", 1)
        self._scorer = Scorer(self._given, transcriber, open_speaker_encoder(encoder, device), DistilMOS(device))
        self.about = self._scorer.fingerprint
        self.files = {
            name: open_scores(folder / f"{name}.jsonl", {**self.about, "system": name, "kind": "variant"})
            for name in variants
        }

    def has(self, line: Line, seed: int | None = None) -> bool:
        """Whether all variants have a row of a line."""
        key = row_key({"id": line.id} if seed is None else {"id": line.id, "seed": seed})
        return all(key in file.rows for file in self.files.values())

    def add(
        self, line: Line, sounds: Mapping[str, np.ndarray], rate: int, keep: bool = False, seed: int | None = None
    ) -> None:
        """Judge a line, at once or, where the transcriber takes batches, when there are enough sounds for one; see `judge`.

        Args:
            line: its prompt is the recording that speakers are compared with.
            sounds: samples (T,) of every variant.
            rate: Hz.
            keep: the sounds are written into the run folder, for `mamtra report`.
            seed: where lines are said with several.
        """
        digests = {name: hashlib.sha256(np.ascontiguousarray(x)).hexdigest() for name, x in sounds.items()}
        first = {digest: name for name, digest in reversed(digests.items())}
        spoken = {digest: Spoken(sounds[name], rate, {}) for digest, name in first.items()}
        self._waiting.append(_Made(line, seed, digests, spoken))
        for name, samples in sounds.items() if keep else ():
            path = self._sound(name, line)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, samples, rate)
        if sum(len(made.spoken) for made in self._waiting) >= self._together:
            self.judge()

    def judge(self) -> None:
        """Judge what waits; call it at the end."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._given.queue = [spoken for made in waiting for spoken in made.spoken.values()]
        rows = iter(self._scorer.many([(made.line, made.seed) for made in waiting for _ in made.spoken]))
        for made in waiting:
            by_digest = {digest: next(rows) for digest in made.spoken}
            for name, digest in made.digests.items():
                row, path = by_digest[digest], self._sound(name, made.line)
                self.files[name].add({**row, "sound": str(path)} if path.exists() else row)

    def _sound(self, variant: str, line: Line) -> Path:
        return (self._folder / "sounds" / variant / f"{line.id}.wav").resolve()


@dataclass
class _Made:
    """Sounds of a line that wait for the judges: each once, by its digest, and the digests of all variants."""

    line: Line
    seed: int | None
    digests: Mapping[str, str]
    spoken: Mapping[str, Spoken]


class _Given:
    """The system of sounds that are there already, asked for in their order."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.queue: list[Spoken] = []

    def __call__(self, line: Line, seed: int | None = None) -> Spoken:
        return self.queue.pop(0)


def compare(files: Mapping[str, ScoreFile], ids: Iterable[str]) -> dict[str, Any]:
    """Figures of all variants over the same lines, and differences to the first variant, each with its interval."""
    places, rows = {key: place for place, key in enumerate(ids)}, next(iter(files.values())).rows
    keys = [
        key for key, row in rows.items() if row["id"] in places and all(key in file.rows for file in files.values())
    ]
    keys.sort(key=lambda key: (places[rows[key]["id"]], rows[key].get("seed", 0)))
    parts = {n: ScoreFile(f.path, f.fingerprint, {key: f.rows[key] for key in keys}) for n, f in files.items()}
    first = next(iter(parts.values()))
    found: dict[str, Any] = {"utterances": len(keys), "lines": len({rows[key]["id"] for key in keys}), "variants": {}}
    if not keys:
        return found
    for name, part in parts.items():
        figures, pairs = summarise(part)["figures"], compare_scores(first, part)["figures"]
        changed = sum(part.rows[key].get("sha256") != first.rows[key].get("sha256") for key in keys)
        for key in FIGURES:
            if part is not first:
                figures[key] |= {**pairs[key], "ci95": figures[key]["ci95"], "difference_ci95": pairs[key]["ci95"]}
        found["variants"][name] = {"changed": changed, "figures": {key: figures[key] for key in FIGURES}}
    return found


def paired_table(found: Mapping[str, Any]) -> str:
    """A result of `compare` as Markdown: every figure, and below it its difference to the first variant."""

    def interval(value: float, ends: Sequence[float], digits: int, sign: str = "") -> str:
        return f"{value:{sign}.{digits}f} [{ends[0]:{sign}.{digits}f}, {ends[1]:{sign}.{digits}f}]"

    rows = []
    for name, variant in found["variants"].items():
        cells = [name, variant["changed"]]
        for key, (_, digits) in FIGURES.items():
            figure = variant["figures"][key]
            cells.append(interval(figure["value"], figure["ci95"], digits))
            cells.append(
                interval(figure["difference"], figure["difference_ci95"], digits, "+") if "difference" in figure else ""
            )
        rows.append(cells)
    heads = [cell for title, _ in FIGURES.values() for cell in (title, "difference")]
    return markdown_table(("", "changed", *heads), rows)


def compare_sets(files: Mapping[str, ScoreFile], sets: Mapping[str, Iterable[Line]]) -> dict[str, Any]:
    """Results of `compare` for each set, and for all lines together, as far as they have been judged."""
    found = {name: compare(files, [line.id for line in lines]) for name, lines in sets.items()}
    found = {name: part for name, part in found.items() if part["utterances"]}
    if len(found) > 1:
        found = {"all lines": compare(files, [line.id for lines in sets.values() for line in lines]), **found}
    return found


def paired_sections(results: Mapping[str, Any], level: int = 2) -> str:
    """Results of `compare_sets` as Markdown, a section each, with headings of a level."""

    def count(part: Mapping[str, Any]) -> str:
        said, lines = part["utterances"], part["lines"]
        return f"{lines}" if said == lines else f"{lines}, {said} utterances"

    return "\n\n".join(
        f"{'#' * level} {name[0].upper()}{name[1:]}: {count(part)}\n\n{paired_table(part)}"
        for name, part in results.items()
    )


def paired_options(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that judge in pairs."""
    parser.add_argument("--development", nargs="*", default=[], help="sets that something is chosen on")
    parser.add_argument("--held-out", nargs="*", default=[], help="sets that confirm it")
    parser.add_argument("--run", type=Path, help="folder for what is done")
    parser.add_argument("--whisper", help="as for mamtra evaluate")
    parser.add_argument(
        "--fast", action="store_true", help="Whisper in 16 bits on a GPU, or int8 and greedy by CTranslate2"
    )
    parser.add_argument("--encoder", help="that compares speakers, as for mamtra evaluate")
    parser.add_argument("--device", default="cpu", help="of the judges")
    parser.add_argument("--speaker-device", default="cpu", help="of the model")
    parser.add_argument("--workers", type=int, default=0, help="processes that speak, each with one thread")
    parser.add_argument("--limit", type=int, help="lines of each set")
    parser.add_argument("--minutes", type=float, default=600, help="no line is begun after so many")
    parser.add_argument("--threads", type=int, default=2)


def about_sets(sets: Sequence[Mapping[str, Any]]) -> str:
    """What was said, in words."""
    return ", ".join(f"{about['lines']} lines of {about['set']}" for about in sets)


def about_judges(judges: Mapping[str, Any]) -> str:
    """What judged, in a sentence."""
    return (
        f"{judges['asr']}; "
        + ", ".join(f"{what}: {judge}" for what, judge in judges["metrics"].items())
        + ". Similarity is to a sentence that the voice says. In brackets: 95% bootstrap intervals, those of differences paired "
        "by line."
    )


def lines_with_prompt(source: str | Path, prompt: Path, limit: int | None = None) -> tuple[list[Line], dict[str, Any]]:
    """Lines of a set that are compared with one recording of the voice, and what the set is."""
    found = read_set(source, limit)
    lines = [
        replace(line, id=f"{Path(source).stem}-{line.id}", prompt=prompt, ground_truth=None) for line in found.lines
    ]
    return lines, {"set": found.name, "sha256": found.sha256, "lines": len(lines)}


def open_paired(args: argparse.Namespace, variants: Sequence[str]) -> PairedScores:
    """Score files by `paired_options`."""
    judges = {"fast": args.fast, "device": args.device, "encoder": args.encoder}
    return PairedScores(args.run, variants, args.whisper, args.threads, **judges)


def read_sets(args: argparse.Namespace, prompt: Path) -> tuple[dict[str, list[Line]], list[dict[str, Any]]]:
    """Lines of the sets of `paired_options`, and what each set is."""
    sets, about = {DEVELOPMENT: list[Line](), HELD_OUT: list[Line]()}, []
    for name, sources in ((DEVELOPMENT, args.development), (HELD_OUT, args.held_out)):
        for source in sources:
            lines, found = lines_with_prompt(source, prompt, args.limit)
            sets[name] += lines
            about.append(found)
    return sets, about


def reference_sound(folder: Path, tts: TTS, voice: Voice) -> Path:
    """A recording of the voice in the run folder: what it says offline."""
    path = folder / "voice.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tts.say(REFERENCE, voice, seed=0).save(path)
    return path


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (T,) of a segment without silent edges, as they are played."""
    return EdgeTrimmer(rate, 0.0).push(samples, final=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line to a file of JSON lines, in one write, since several processes may add to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
