"""More speakers from Kokoro-82M: voices that the recordings lack, and mixtures and exaggerations of two.

    python mix_voices.py --kokoro DIR --known kokoro/metadata.tsv --text FILE.txt --model src/mamtra/assets/mini --out DIR
        [--mixtures 60] [--each 3] [--seed N] [--workers N]

DIR holds model.onnx, vocab.json and voices/*.bin, float32 (510, 256) each (`benchmarks/kokoro.py` says of which packages). A voice
vector of Kokoro can be moved along the line through two others. Written are audio files with a metadata.tsv as `import_audio.py`
reads it; what is there is kept when it is run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
from pathlib import Path

import numpy as np

from mamtra.audio.io import read_audio, write_audio
from mamtra.runtime.files import write_text
from mamtra.text.frontend import TextFrontend

RATE, LEAST, MOST = 24000, 40, 130  # Hz; symbols of a sentence
BETWEEN, BEYOND = (0.3, 0.7), (1.25, 1.5)
"""Places of mixtures and of exaggerations on the line from one voice (0) to another of the same sex (1)."""
COLUMNS = ("path", "voice", "seconds", "text_source", "text", "phonemes")


def read_voices(folder: Path) -> dict[str, np.ndarray]:
    """Voice vectors (510, 256) by name."""
    return {
        file.stem: np.fromfile(file, np.float32).reshape(-1, 256) for file in sorted((folder / "voices").glob("*.bin"))
    }


def make_styles(voices: dict[str, np.ndarray], known: set[str], mixtures: int, seed: int) -> dict[str, np.ndarray]:
    """Voice vectors (510, 256) by name: those that are not known, and so many mixtures, half of them beyond the second voice."""
    rng = np.random.default_rng(seed)
    names = sorted(voices)
    found = {name: voices[name] for name in names if name not in known}
    for number in range(mixtures):
        first = names[rng.integers(len(names))]
        alike = [name for name in names if name[1] == first[1] and name != first]
        second = alike[rng.integers(len(alike))]
        place = rng.uniform(*(BEYOND if number % 2 else BETWEEN))
        found[f"mix_{number:03d}"] = voices[first] + np.float32(place) * (voices[second] - voices[first])
    return found


def start(folder: Path, styles: dict[str, np.ndarray], out: Path) -> None:
    """Load what a worker process needs."""
    import onnxruntime as ort

    global session, vocabulary, vectors, place
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    vectors, place = styles, out


def speak(row: dict[str, str]) -> dict[str, str]:
    """Write one sound, unless it is there; return the row with its length."""
    file = place / row["path"]
    if not file.exists():
        _speak(row, file)
    return row | {"seconds": f"{len(read_audio(file, RATE)[0]) / RATE:.3f}"}


def _speak(row: dict[str, str], file: Path) -> None:
    ids = [vocabulary[symbol] for symbol in row["phonemes"] if symbol in vocabulary]
    given = {
        "tokens": np.array([[0, *ids, 0]]),
        "style": vectors[row["voice"]][len(ids)][None],
        "speed": np.ones(1, np.float32),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_audio(file, np.ravel(session.run(None, given)[0]), RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kokoro", type=Path, required=True)
    parser.add_argument("--known", type=Path, required=True, help="metadata of the recordings that are there")
    parser.add_argument("--text", type=Path, required=True, help="a sentence on each line")
    parser.add_argument("--model", type=Path, required=True, help="model directory that phonemises the text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mixtures", type=int, default=60)
    parser.add_argument("--each", type=int, default=3, help="sentences of every voice")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    with args.known.open(encoding="utf-8", newline="") as file:
        known = {row["voice"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    styles = make_styles(read_voices(args.kokoro), known, args.mixtures, args.seed)
    lines, front = args.text.read_text(encoding="utf-8").splitlines(), TextFrontend.load(args.model)
    order = iter(np.random.default_rng(args.seed).permutation(len(lines)))
    jobs = []
    for voice in styles:
        for number in range(args.each):
            phonemes = text = ""
            while not LEAST <= len(phonemes) <= MOST:
                text = lines[next(order)].strip()
                phonemes = front.phonemes(text)
            jobs.append({"path": f"{voice}/{number}.opus", "voice": voice, "text_source": args.text.stem, "text": text,
                         "phonemes": phonemes})  # fmt: skip
    rows = []
    with multiprocessing.get_context("spawn").Pool(args.workers, start, (args.kokoro, styles, args.out)) as pool:
        for row in pool.imap(speak, jobs):
            rows.append(row)
            if len(rows) % 20 == 0:
                print(f"{len(rows)}/{len(jobs)}", flush=True)
    body = "".join("\t".join(row[name] for name in COLUMNS) + "\n" for row in rows)
    write_text(args.out / "metadata.tsv", "\t".join(COLUMNS) + "\n" + body)


if __name__ == "__main__":
    main()
