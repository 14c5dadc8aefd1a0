"""Convert recordings and multi-speaker synthetic speech (real speakers, Kokoro voices) to corpus shards.

    python import_audio.py --metadata FILE.tsv --out DIR [--model src/mamtra/assets/mini] [--whole] [--workers N]

`metadata.tsv` has a header with at least path, text and voice or speaker; a `phonemes` column is used as is, otherwise
the text front end of `--model` phonemises the text; an `id` takes the place of the file's name. --whole leaves silence at the ends,
so that what has the same timing keeps it. Pitch is measured by Praat (`praat-parselmouth`). Speech is normalised to
-23 dBFS RMS.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import zlib
from pathlib import Path

import numpy as np
from corpus import ShardWriter, edges

from mamtra.text.frontend import TextFrontend

SHARD, LEVEL = 200, -23.0


def read(path: Path, rate: int) -> np.ndarray:
    """Mono float32 at 24 kHz; `rate` is the original sample rate (Opus decoders always return 48 kHz)."""
    import soundfile
    import soxr

    wave, stored = soundfile.read(path, dtype="float32", always_2d=True)
    wave = wave.mean(1)
    if rate and rate < 24000 and stored > rate:
        wave, stored = soxr.resample(wave, stored, rate), rate
    return wave if stored == 24000 else soxr.resample(wave, stored, 24000)


def pitch(wave: np.ndarray, low: float = 60.0, high: float = 500.0) -> np.ndarray:
    """Praat's autocorrelation pitch at the centres of 20 ms frames, Hz, 0 where unvoiced."""
    import parselmouth

    track = parselmouth.Sound(wave.astype(np.float64), 24000).to_pitch_ac(0.01, low, pitch_ceiling=high)
    times = (np.arange(len(wave) // 480 + 1) + 0.5) / 50
    found = np.array([track.get_value_at_time(t) for t in times])
    return np.nan_to_num(found, nan=0.0)


def import_shard(job: tuple[Path, Path, list[dict], bool]) -> tuple[int, float]:
    folder, root, rows, whole = job
    writer, seconds = ShardWriter(folder), 0.0
    for row in rows:
        wave = read(root / row["path"], int(row.get("sample_rate") or 0))
        if not whole:
            wave = wave[edges(wave)]
        if len(wave) < 12000 or len(wave) > 20 * 24000:
            continue
        loud = np.abs(wave) > 0.02 * np.abs(wave).max()
        gain = 10 ** (LEVEL / 20) / np.sqrt((wave[loud] ** 2).mean())
        wave = wave * min(gain, 0.97 / np.abs(wave).max())
        speaker = row.get("voice") or row["speaker"]
        writer.add(row.get("id") or Path(row["path"]).stem, speaker, root.name, row["phonemes"], wave, pitch(wave))
        seconds += len(wave) / 24000
    writer.close()
    return len(writer.rows), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="model directory that phonemises texts without phonemes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--whole", action="store_true", help="cut nothing off the ends")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    with args.metadata.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if "phonemes" not in rows[0]:
        front = TextFrontend.load(args.model)
        for row in rows:
            row["phonemes"] = front.phonemes(row.get("text_punctuated") or row["text"])
    rows.sort(key=lambda row: zlib.crc32(row["path"].encode()))  # a fixed shuffle: every shard holds many voices
    root = args.metadata.parent
    jobs = [(args.out / f"{i // SHARD:05d}", root, rows[i : i + SHARD], args.whole) for i in range(0, len(rows), SHARD)]
    jobs = [job for job in jobs if not (job[0] / "index.tsv").exists()]
    total = 0.0
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for done, (_count, seconds) in enumerate(pool.imap_unordered(import_shard, jobs), 1):
            total += seconds
            print(f"{done}/{len(jobs)} shards, {total / 3600:.2f} h", flush=True)


if __name__ == "__main__":
    main()
