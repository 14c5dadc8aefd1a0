"""How well the embedded voice is understood with fewer bits, on a CPU.

    python benchmarks/weight_words.py --set LIST.tsv --whisper DIR --work DIR [--model mini] [--sentences 100] [--seconds 500]
        [--threads 2] [--out docs/results/weight_words.json]

Sentences of a list (columns id, text, spoken) are spoken once with each option of the engine, with equal random numbers, and are
transcribed as `mamtra evaluate` does. What is finished is kept in --work, so that a long measurement can be made in parts.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import benchmark
from runtime_words import compare, read_sentences

from mamtra.engine.engine import Engine
from mamtra.evaluate.judges.asr import Transcriber, open_transcriber
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.batch import Batch
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.retries import ONCE
from mamtra.tts import TTS

BASELINE = "float32"
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {},
    "int8 weights": {"weights": "int8"},
    "fp8 weights": {"weights": "fp8"},
    "bfloat16 states": {"ssm_dtype": torch.bfloat16},
}
"""Options of the engine by the names in the tables."""
ROWS = 25


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--set", type=Path, help="list of sentences")
    parser.add_argument("--whisper", help="folder of the transcriber")
    parser.add_argument("--work", type=Path, help="folder for what is finished")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--threads", type=int, default=2)


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.set is None or args.whisper is None or args.work is None:
        raise SystemExit("give --set, --whisper and --work")
    torch.set_num_threads(args.threads)
    tts, listen = TTS.load(args.model, device="cpu"), open_transcriber(args.whisper, args.threads)
    sentences = read_sentences(args.set, args.sentences)
    heard = transcribe(tts, {name: text for name, (text, _) in sentences.items()}, listen, args.work, args.seconds)
    words = compare(sentences, heard, BASELINE)
    if not words["sentences"]:
        raise SystemExit("no sentence was spoken in every way in this time: run this again")
    yield {"model": tts.model.name, **words, "judge": listen.about, "same": same_sounds(args.work)}


def transcribe(
    tts: TTS, texts: Mapping[str, str], listen: Transcriber, work: Path, seconds: float
) -> dict[str, dict[str, str]]:
    """What is heard of every text said with the seed of its place in every way, by way and id, as far as the time allows.

    Each segment is tried once. Finished texts are kept in `work`; sound that is that of the baseline to the bit is not transcribed
    again.
    """
    work.mkdir(parents=True, exist_ok=True)
    until, files = time.monotonic() + seconds, {way: work / f"{way.replace(' ', '-')}.jsonl" for way in WAYS}
    rows = {
        way: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        for way, path in files.items()
    }
    known = {row["id"]: row for row in rows[BASELINE]}
    for start in range(0, len(texts), ROWS):
        part = list(enumerate(texts))[start : start + ROWS]
        for way in WAYS:
            if len(rows[way]) > start or time.monotonic() > until:
                continue
            spoken = say_together(tts, way, [texts[name] for _, name in part], [seed for seed, _ in part])
            for (_, name), samples in zip(part, spoken, strict=True):
                sound = hashlib.sha256(samples.tobytes()).hexdigest()
                same = name in known and known[name]["sound"] == sound
                heard = known[name]["text"] if same else listen(samples, tts.sample_rate)
                rows[way].append({"id": name, "text": heard, "sound": sound})
                known.setdefault(name, rows[way][-1])
            files[way].write_text("".join(json.dumps(row) + "\n" for row in rows[way]), encoding="utf-8")
    return {way: {row["id"]: row["text"] for row in found} for way, found in rows.items()}


def same_sounds(work: Path) -> dict[str, int]:
    """Texts whose sound is that of the baseline to the bit, by way."""
    sounds = {
        way: {row["id"]: row["sound"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
        for way in WAYS
        if (path := work / f"{way.replace(' ', '-')}.jsonl").exists()
    }
    base = sounds[BASELINE]
    return {
        way: sum(base.get(i) == sound for i, sound in found.items()) for way, found in sounds.items() if way != BASELINE
    }


def capacity(tts: TTS, ids: Sequence[Sequence[int]]) -> int:
    """Positions that a stream needs at most, to speak one of the segments in the default voice."""
    return 2 + sum(map(len, tts.voice().lm_prompt)) + max(len(n) + tts.model.generation.longest(len(n)) for n in ids)


def say_together(tts: TTS, way: str, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[np.ndarray]:
    """Samples of each text, all decoded side by side in one way."""
    model: Model = tts.model
    segments = [model.text.segments(text) for text in texts]
    ids = [segment.ids for row in segments for segment in row]
    lm, room = copy.deepcopy(model.lm), capacity(tts, ids)
    engine = Engine(lm, slots=len(ids), capacity=room, deterministic=False, **WAYS[way])
    with engine:
        batch = Batch(engine, 2 * len(texts), 1)
        for seed, row in zip(seeds, segments, strict=True):
            batch.add(Request(model, tts.voice(), seed, retries=ONCE), row)
        for _, chunks in batch.finished(last=True):
            yield np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in chunks)])


def render(result: dict[str, Any]) -> str:
    rows = []
    for way, (value, low, high) in result["wer"].items():
        change = result["differences"].get(way)
        shown = f"{change[0]:+.2f} [{change[1]:+.2f}, {change[2]:+.2f}]" if change else ""
        rows.append((way, f"{value:.2f} [{low:.2f}, {high:.2f}]", shown, result["same"].get(way, "")))
    about = (
        f"{result['sentences']} development sentences, each said once by {result['model']} with each option of the engine and the "
        f"same random numbers; {result['judge']['asr']}; {result['normaliser']}. Bootstrap intervals of 95%, differences paired by "
        "sentence."
    )
    head = ("", "WER %", "difference to float32", "sounds equal to the bit")
    return "\n\n".join(["# Words with fewer bits", about, markdown_table(head, rows), footnote(result)]) + "\n"


if __name__ == "__main__":
    benchmark("weight_words", __doc__, measure, render, options, None)
