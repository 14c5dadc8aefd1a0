"""More speakers for the flow: every utterance once more as another voice, with the timing of the original.

    python change_voices.py --corpus DIR ... --out DIR [--times N] [--shards N] [--seed N] [--workers N]

Praat moves formants, median and range of the pitch (`praat-parselmouth`); words and timing stay, so that each has the speech tokens
of the other too. A flow that has few speakers learns to know them by their embedding; among very many it has to listen to the
prompt. Rows have the source `changed` and the identifier of their original behind a number and `~`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from corpus import TOKEN_24, Row, ShardWriter, finished, read_index

CHANGED, MARK = "changed", "~"
"""Source of the rows, and what stands before the identifier of the original."""
FORMANTS, MEDIAN, RANGE = 0.2, 0.4, (-0.3, 0.4)
"""Greatest changes, natural logarithms: of the formants, of the pitch's median, and from which to which of its range."""
LOWEST, HIGHEST = 75.0, 330.0
"""Of the median, Hz."""
FLOOR = 40.0
"""Hz that no pitch falls below: Praat does not end where one falls below 0."""
SHORTEST = 25  # tokens


def change(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """float32 speech (T,) at 24 kHz as another voice, of the same length and level; None where Praat finds no pitch or fails."""
    import parselmouth
    from parselmouth.praat import call

    formants, median, spread = (rng.uniform(-FORMANTS, FORMANTS), rng.uniform(-MEDIAN, MEDIAN), rng.uniform(*RANGE))
    sound = parselmouth.Sound(wave.astype(np.float64), 24000)
    pitch = sound.to_pitch(0.01, 60.0, 500.0)
    middle = call(pitch, "Get quantile", 0, 0, 0.5, "Hertz")
    if not np.isfinite(middle):
        return None
    # larger people have lower formants and a lower pitch
    wanted = float(np.clip(middle * np.exp(formants + median), LOWEST, HIGHEST))
    lowest = call(pitch, "Get minimum", 0, 0, "Hertz", "None") / middle
    factor = min(float(np.exp(spread)), widest(wanted, lowest))
    try:
        made = call([sound, pitch], "Change gender", float(np.exp(formants)), wanted, factor, 1.0)
    except parselmouth.PraatError:  # a pitch of one frame, for example
        return None
    found = made.values[0].astype(np.float32)[: len(wave)]
    found = np.pad(found, (0, len(wave) - len(found)))
    level = np.sqrt((wave**2).mean() / max(float((found**2).mean()), 1e-12))
    return found * min(level, 0.97 / max(float(np.abs(found).max()), 1e-6))


def widest(wanted: float, lowest: float) -> float:
    """The greatest factor of the range that leaves all pitch above FLOOR.

    Args:
        wanted: median, Hz.
        lowest: pitch, as a fraction of the median.
    """
    return (wanted - FLOOR) / max(wanted * (1 - lowest), 1e-6)


def change_shard(job: tuple[Path, Path, int, int]) -> float:
    """Change one shard for the given time; return seconds of audio."""
    shard, folder, time, seed = job
    sound = np.fromfile(shard / "audio24.i16", np.int16)
    writer, seconds = ShardWriter(folder), 0.0
    for row in read_index([shard]):
        if row.tokens < SHORTEST:
            continue
        name = f"{time}{MARK}{row.key}"
        found = change(_wave(sound, row), np.random.default_rng([seed, zlib.crc32(name.encode())]))
        if found is not None:
            writer.add(name, name, CHANGED, row.phonemes, found, np.zeros(2 * row.tokens, np.float32))
            seconds += row.tokens * 0.04
    writer.close()
    return seconds


def original_of(row: Row) -> str:
    """The `key` of the row that one was made from as another voice; its own of any other."""
    return row.id.rpartition(MARK)[2] if MARK in row.id else row.key


def families(rows: Sequence[Row]) -> list[np.ndarray]:
    """For each row the numbers of all rows with the same speech, the original first; its own where the original is not there."""
    place = {row.key: number for number, row in enumerate(rows)}
    found: dict[int, list[int]] = {}
    origin = [place.get(original_of(row), number) for number, row in enumerate(rows)]
    for number, original in enumerate(origin):
        if rows[number].tokens != rows[original].tokens:
            raise SystemExit(
                f"{rows[number].key} and {rows[original].key} should be the same speech but differ in length"
            )
        found.setdefault(original, [original])
        if number != original:
            found[original].append(number)
    return [np.array(found[original]) for original in origin]


def _wave(sound: np.ndarray, row: Row) -> np.ndarray:
    return sound[row.start * TOKEN_24 : (row.start + row.tokens) * TOKEN_24].astype(np.float32) / 32768


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1, help="other voices of every utterance")
    parser.add_argument("--shards", type=int, help="change so many shards only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    shards = finished(args.corpus)[: args.shards]
    jobs = [
        (shard, args.out / f"{time}-{number:05d}", time, args.seed)
        for time in range(args.times)
        for number, shard in enumerate(shards)
    ]
    jobs = [job for job in jobs if not (job[1] / "index.tsv").exists()]
    total = 0.0
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for done, seconds in enumerate(pool.imap_unordered(change_shard, jobs), 1):
            total += seconds
            print(f"{done}/{len(jobs)} shards, {total / 3600:.2f} h", flush=True)


if __name__ == "__main__":
    main()
