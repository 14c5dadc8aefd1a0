"""How well a voice speaks: word and character errors of a speech recogniser, predicted naturalness, and guards.

    python benchmarks/voice_quality.py --set LIST.tsv --run DIR --whisper DIR [--model NAME=DIR ...] [--voice NAME ...]
        [--wavs NAME=DIR ...] [--resynth NAME=DIR ...] [--judge-python PATH] [--out docs/results/voice_quality.json]

LIST.tsv has the columns id, category, text (given to the model) and spoken (the reference). Every model speaks it with every
voice, through the public API; --wavs adds sound from elsewhere (DIR/ID.wav), such as the engine that the voice was trained on;
--resynth resynthesises such sound from its speech tokens, with the first model and voice. Everything is kept in the run folder, so
that an interrupted run can be continued. Scoring runs in a process of its own (scoring.py) under --judge-python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from quality_report import judge_of, render, summarise
from record import circumstances, say_progress, write_results
from speaking import Sentence, read_made, read_set, resynthesise, speak

from mamtra import TTS, load
from mamtra.evaluate.score_file import ScoreFile, read_scores
from mamtra.runtime.files import hash_files

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class System:
    """A system that is scored.

    Attributes:
        name: its row in the table.
        kind: "model", "recording" or "resynthesis".
        sound: folder with ID.wav.
        work: its folder in the run.
        about: what it is.
    """

    name: str
    kind: str
    sound: Path
    work: Path
    about: dict[str, Any]


def name_and_path(text: str) -> tuple[str, Path]:
    """NAME=DIR, or DIR, whose last part is the name then."""
    name, sign, path = text.partition("=")
    return (name, Path(path)) if sign else (Path(text).name, Path(text))


def folder_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def follow(title: str, total: int, steps: Iterable[object]) -> None:
    """Runs through an iterator behind a progress bar."""
    with say_progress(title) as progress:
        task = progress.add_task(title, total=total)
        for _ in steps:
            progress.advance(task)


def make_systems(args: argparse.Namespace, sentences: Sequence[Sentence]) -> list[System]:
    """Speak everything that is to be scored."""
    found, loaded = [], [(name, load(path)) for name, path in map(name_and_path, args.model)]

    def system(name: str, kind: str, about: dict[str, Any], sound: Path | None = None) -> System:
        work = args.run / folder_name(name)
        if any(one.work == work for one in found):
            raise SystemExit(f"two rows would be called {name}; name them with NAME=DIR")
        found.append(System(name, kind, sound or work, work, about))
        return found[-1]

    for name, path in map(name_and_path, args.wavs):
        if not path.is_dir():
            raise SystemExit(f"there is no folder {path}")
        system(name, "recording", {}, path)
    for name, path in map(name_and_path, args.resynth):
        if not loaded:
            raise SystemExit("--resynth needs a --model")
        tts = loaded[0][1]
        voice = tts.voice(args.voice[0] if args.voice else None)
        one = system(name, "resynthesis", describe(tts, voice.name))
        follow(name, len(sentences), resynthesise(tts, voice, path, one.work, sentences, args.seed))
    for name, tts in loaded:
        for asked in args.voice or [None]:
            voice = tts.voice(asked)
            one = system(f"{name}, {voice.name}", "model", describe(tts, voice.name))
            follow(one.name, len(sentences), speak(tts, voice, one.work, sentences, args.seed))
    return found


def describe(tts: TTS, voice: str) -> dict[str, Any]:
    layers = tts.model.config["lm"]["layer_types"]
    return {
        "model": tts.model.name,
        "voice": voice,
        "attention_layers": layers.count("full_attention"),
        "layers": len(layers),
    }


def judge(system: System, sentences: Sequence[Sentence], args: argparse.Namespace) -> ScoreFile:
    """Scores of a system, made by a scoring process; scores of the same texts and sounds are reused."""
    system.work.mkdir(parents=True, exist_ok=True)
    rows = system.work / "list.tsv"
    lines = [f"{s.id}\t{s.text}\t{s.spoken}\t{s.category}\n" for s in sentences]
    rows.write_text("id\ttext\tspoken\tcategory\n" + "".join(lines), encoding="utf-8")
    digest = hashlib.sha256(rows.read_bytes())
    for sound in (system.sound / f"{s.id}.wav" for s in sentences):
        digest.update(sound.read_bytes() if sound.is_file() else b"missing")
    scores = system.work / f"scores-{digest.hexdigest()[:12]}{'-no-mos' if args.no_mos else ''}.jsonl"
    command = [args.judge_python, str(HERE / "scoring.py"), str(rows), str(system.sound.resolve())]
    command += ["--out", str(scores), "--threads", str(args.threads)]
    command += [*(["--whisper", str(args.whisper)] if args.whisper else []), *(["--no-mos"] if args.no_mos else [])]
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        follow(f"judging {system.name}", len(sentences), process.stdout)
    if process.returncode:
        raise SystemExit(f"the judge failed on {system.name}")
    return read_scores(scores)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark as a record."""
    sentences = read_set(args.set, args.ids, args.limit)
    systems = make_systems(args, sentences)
    if not systems:
        raise SystemExit("there is nothing to judge: give --model, --wavs or --resynth")
    rows = []
    for system in systems:
        scores = judge(system, sentences, args)
        made = read_made(system.work)
        rows.append({
            "name": system.name, "kind": system.kind, **system.about,
            **summarise(sentences, scores, made, rows[0] if rows else None),
        })  # fmt: skip
        judges = judge_of(scores)
    for row in rows:
        row.pop("word_errors")
    digest = hash_files(args.set)
    return {
        "benchmark": "voice_quality",
        **circumstances([sys.argv[0], *sys.argv[1:]], args.threads),
        "seed": args.seed,
        "set": {"name": args.set.name, "sha256": digest, "utterances": len(sentences)},
        "judge": judges,
        "systems": rows,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, help="TSV with id, category, text, spoken")
    parser.add_argument("--run", type=Path, help="folder for sound and scores; give it again to continue")
    parser.add_argument("--model", nargs="*", default=[], metavar="[NAME=]DIR")
    parser.add_argument("--voice", nargs="*", default=[], metavar="NAME", help="the model's own default where left out")
    parser.add_argument("--wavs", nargs="*", default=[], metavar="NAME=DIR", help="sound from elsewhere")
    parser.add_argument(
        "--resynth", nargs="*", default=[], metavar="NAME=DIR", help="sound to be resynthesised from its speech tokens"
    )
    parser.add_argument("--limit", type=int, help="only the first N lines of the list")
    parser.add_argument("--ids", nargs="*", default=[], help="only these lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge-python", default=sys.executable, help="interpreter that has the judge's packages")
    parser.add_argument("--whisper", type=Path, help="CTranslate2 Whisper folder (default: MAMTRA_WHISPER)")
    parser.add_argument("--no-mos", action="store_true", help="leave DistilMOS out")
    parser.add_argument("--out", type=Path, default=Path("docs/results/voice_quality.json"))
    parser.add_argument("--render", action="store_true", help="only write the page again from --out")
    args = parser.parse_args(argv)
    if not args.render and (args.set is None or args.run is None):
        parser.error("give --set and --run")
    torch.set_num_threads(args.threads)
    results = json.loads(args.out.read_text(encoding="utf-8")) if args.render else measure(args)
    print(write_results(args.out, results, render(results)))


if __name__ == "__main__":
    main()
