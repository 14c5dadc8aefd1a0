"""What the distillation of the flow needs of the recordings: a list of them for `mamtra prepare`, and voices for its prompts.

    python prompts.py --data DIR --out DIR [--model src/mamtra/assets/mini] [--each 2] [--seed 8]

DIR of the recordings is that of the recipe: kokoro/ and real/ with a metadata.tsv each. Written are recordings.jsonl and
voices/*.safetensors: of each speaker up to --each voices, from the first 2.5 to 5 s of a recording.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

import mamtra
from mamtra.audio.io import read_audio, write_audio
from mamtra.errors import MamTraError
from mamtra.synthesis.cloning import clone_voice

SHORTEST, LONGEST, RATE = 2.5, 5.0, 24000  # seconds, Hz


def read_recordings(data: Path) -> list[dict[str, str]]:
    """Rows of both lists, with absolute paths."""
    found = []
    for source in ("kokoro", "real"):
        with (data / source / "metadata.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                audio = str((data / source / row["path"]).resolve())
                speaker = row.get("voice") or row["speaker"]
                found.append({"audio": audio, "text": row.get("text_punctuated") or row["text"], "speaker": speaker,
                              "source": source, "seconds": row["seconds"]})  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--seed", type=int, default=8)
    args = parser.parse_args()
    rows = read_recordings(args.data)
    (args.out / "voices").mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (args.out / "recordings.jsonl").write_text(lines, encoding="utf-8")
    model = mamtra.load(args.model, runtime="torch").model
    speakers: dict[str, list[str]] = {}
    for row in rows:
        if float(row["seconds"]) >= SHORTEST:
            speakers.setdefault(row["speaker"], []).append(row["audio"])
    rng = np.random.default_rng(args.seed)
    for speaker, paths in sorted(speakers.items()):
        for number, at in enumerate(rng.permutation(len(paths))[: args.each]):
            place = args.out / "voices" / f"{speaker}-{number}.safetensors"
            if place.exists():
                continue
            wave, cut = args.out / "cut.wav", round(RATE * rng.uniform(SHORTEST, LONGEST))
            write_audio(wave, read_audio(paths[at], RATE)[0][:cut], RATE)
            try:
                voice = clone_voice(wave, model, name=place.stem)
            except MamTraError as error:
                print(f"{speaker}: {error}", flush=True)
                continue
            finally:
                wave.unlink()
            voice.save(place)
    print(f"{len(list((args.out / 'voices').iterdir()))} voices of {len(speakers)} speakers, {len(rows)} recordings")


if __name__ == "__main__":
    main()
