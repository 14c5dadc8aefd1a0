"""Cut recordings of any length where they are quietest, so that `import_audio.py` takes them: people of whom there is no text.

    python cut_recordings.py --recordings DIR --source NAME --out DIR [--workers N]

The speaker is what a file's name has before its first "-", or the whole of it; NAME goes before it, for names that are taken.
Written are Opus files of 4 to 12 s with a metadata.tsv. It has no texts, and so no phonemes: tokenizer and language models learn
nothing from these, but flow and speaker encoders do.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

import numpy as np

from mamtra.audio.io import read_audio, write_audio
from mamtra.audio.trim import frame_power
from mamtra.runtime.files import write_text

RATE = 24000
LEAST, MOST = 4.0, 12.0
"""Seconds of a part; the last one may be shorter than LEAST, and is kept from SHORTEST on."""
SHORTEST = 1.0
AROUND = 7
"""Frames of 10 ms over which quietness is averaged."""
COLUMNS = ("path", "speaker", "sample_rate", "phonemes")


def cuts(samples: np.ndarray, rate: int) -> list[slice]:
    """The parts of speech (T,), each of LEAST to MOST seconds: the next begins where it is quietest within these."""
    power = np.convolve(frame_power(samples, rate), np.ones(AROUND) / AROUND, mode="same")
    hop, start, found = rate // 100, 0, []
    least, most = round(100 * LEAST), round(100 * MOST)
    while len(power) - start > most:
        end = start + least + int(power[start + least : start + most].argmin())
        found.append(slice(start * hop, end * hop))
        start = end
    return [*found, slice(start * hop, len(samples))]


def cut_file(job: tuple[Path, str, Path]) -> list[str]:
    """Write the parts of one recording; return their lines of the metadata."""
    file, source, out = job
    samples, rate = read_audio(file)
    if rate != 16000:  # of LibriSpeech, which gains nothing by a higher one
        samples, rate = read_audio(file, RATE)
    speaker, lines = f"{source}-{file.stem.partition('-')[0]}", []
    for number, part in enumerate(cuts(samples, rate)):
        if part.stop - part.start < SHORTEST * rate:
            continue
        path = f"{speaker}/{file.stem}-{number}.opus"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        write_audio(out / path, samples[part], rate)
        lines.append(f"{path}\t{speaker}\t{rate}\t\n")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--source", required=True, help="what the speakers' names begin with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    files = sorted(file for file in args.recordings.rglob("*") if file.suffix in (".wav", ".flac"))
    if not files:
        raise SystemExit(f"no .wav or .flac under {args.recordings}")
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        lines = [
            line for part in pool.imap(cut_file, [(file, args.source, args.out) for file in files]) for line in part
        ]
    write_text(args.out / "metadata.tsv", "\t".join(COLUMNS) + "\n" + "".join(lines))
    print(f"{len(files)} recordings in {len(lines)} parts")


if __name__ == "__main__":
    main()
