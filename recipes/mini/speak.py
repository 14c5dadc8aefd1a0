"""Bulk speech of one voice: hibari-tts (Apache-2.0) reads every line of a list, in several processes.

    python speak.py --texts texts.tsv --out DIR [--workers N] [--skip N] [--limit N] [--codes TOKENIZER]

About 170 times real time per core. Finished shards are kept when it is interrupted; run it again to continue. With --codes a shard
holds speech tokens instead of audio (a thousandth of the size), which is all that the language models need; about 100 times real
time then. TOKENIZER is the file of its training, or a model directory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from corpus import Corpus, ShardWriter, edges, finished, keep_codes
from speech import BULK
from tokens import tokenize_corpus
from trained import load_network

SHARD = 250  # utterances


def start(tokenizer_file: Path | None) -> None:
    """Load what a worker process needs for all its shards."""
    from hibari import Hibari

    global voice, tokenizer
    torch.set_num_threads(1)
    voice = Hibari()
    tokenizer = load_network(tokenizer_file, "speech_tokenizer") if tokenizer_file else None


def speak_shard(job: tuple[Path, list[tuple[int, str, str]]]) -> float:
    """Synthesise one shard; return seconds of audio."""
    from hibari import dsp

    folder, lines = job
    writer, seconds = ShardWriter(folder), 0.0
    for number, source, phonemes in lines:
        ids = np.asarray([voice.ids(phonemes)], np.int64)
        out = voice.sess.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        *spectra, f0 = (o[0] for o in out)
        wave = dsp.synth(*spectra, f0, np.random.default_rng(number))
        span = edges(wave)
        times = span.start / 24000 + (np.arange(len(wave[span]) // 480 + 2) + 0.5) / 50  # centres of the 50 Hz frames
        frame = np.clip((times * 80).astype(int), 0, len(f0) - 1)
        pitch = np.where(f0[frame] >= 40, f0[frame], 0)
        writer.add(f"hibari-{number:06d}", BULK, source, phonemes, wave[span], pitch)
        seconds += len(wave[span]) / 24000
    writer.close()
    if tokenizer:
        keep_codes(folder, tokenize_corpus(Corpus([folder], "cpu", ("audio16",)), tokenizer, "cpu"))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True, help="source<TAB>phonemes lines, from texts.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--skip", type=int, default=0, help="leave out the first N lines")
    parser.add_argument("--limit", type=int, help="stop after line N")
    parser.add_argument(
        "--codes", type=Path, metavar="TOKENIZER", help="store speech tokens of this tokenizer instead of audio"
    )
    args = parser.parse_args()
    lines = [line.split("\t") for line in args.texts.read_text(encoding="utf-8").splitlines()]
    rows = [(i, source, phonemes) for i, (source, phonemes) in enumerate(lines)][args.skip : args.limit]
    jobs = [(args.out / f"{i // SHARD:05d}", rows[i : i + SHARD]) for i in range(0, len(rows), SHARD)]
    jobs = [job for job in jobs if not finished([job[0]])]
    begin, total = time.time(), 0.0
    with multiprocessing.get_context("spawn").Pool(args.workers, start, (args.codes,)) as pool:
        for done, seconds in enumerate(pool.imap_unordered(speak_shard, jobs), 1):
            total += seconds
            wall = time.time() - begin
            print(
                f"{done}/{len(jobs)} shards, {total / 3600:.2f} h of speech, {total / wall:.0f}x real time", flush=True
            )


if __name__ == "__main__":
    main()
