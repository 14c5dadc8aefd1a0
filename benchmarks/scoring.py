"""The judge: transcribes sound files with Whisper, rates them with DistilMOS, and keeps both in a file.

    python scoring.py LIST.tsv --out scores.jsonl --whisper DIR [--no-mos] [--threads N]

LIST.tsv: id, sound file, reference text, one utterance a line. It runs as a process of its own, in whatever Python has
faster-whisper, whisper-normalizer, torch and (optionally) distillmos, because these packages do not go together with others;
it needs nothing of mamtra. Scores of files that have not changed are kept. One line for each utterance goes to standard output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from error_rates import words

RATE = 16000
Listen = Callable[[np.ndarray], Any]


def load(path: Path) -> np.ndarray:
    """float32 (T,) at 16 kHz."""
    import soundfile
    import soxr

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = wave.mean(1)
    return wave if rate == RATE else soxr.resample(wave, rate, RATE)


def whisper(folder: Path, threads: int) -> tuple[Callable[[np.ndarray], str], dict[str, str]]:
    """A transcriber with a CTranslate2 Whisper, and what it is."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=threads)

    def transcribe(wave: np.ndarray) -> str:
        found, _ = model.transcribe(wave, language="en", beam_size=5, condition_on_previous_text=False)
        return " ".join(part.text for part in found)

    about = {
        "asr": f"{folder.name}, faster-whisper {metadata.version('faster-whisper')}, beam 5, float32",
        "asr_sha256": hash_file(folder / "model.bin")[:16],
    }
    return transcribe, about


def normaliser() -> tuple[Callable[[str], str], dict[str, str]]:
    """Whisper's English text normaliser."""
    from whisper_normalizer.english import EnglishTextNormalizer

    name = f"EnglishTextNormalizer of whisper_normalizer {metadata.version('whisper_normalizer')}"
    return EnglishTextNormalizer(), {"normaliser": f"{name}, letters and digits joined"}


def mos(threads: int) -> tuple[Callable[[np.ndarray], float] | None, dict[str, str]]:
    """A rater, or None with the reason."""
    try:
        import torch

        if "torchaudio" not in sys.modules:  # a part of distillmos that is not used here imports it
            stand_in, inner = types.ModuleType("torchaudio"), types.ModuleType("torchaudio.transforms")
            inner.MFCC = inner.Resample = object
            stand_in.transforms = inner
            sys.modules.update({"torchaudio": stand_in, "torchaudio.transforms": inner})
        import distillmos
    except ImportError as error:
        return None, {"mos_missing": f"{error.name} is not installed in the judge's Python"}
    torch.set_num_threads(threads)
    model = distillmos.ConvTransformerSQAModel().eval()

    def judge(wave: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(np.ascontiguousarray(wave))[None]))

    return judge, {"mos": f"distillmos {metadata.version('distillmos')}"}


def hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_scores(path: Path) -> dict[str, dict[str, Any]]:
    """Scores by id; a line cut off by an interruption is left out."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            item = json.loads(line)
        except ValueError:
            continue
        found[item["id"]] = item
    return found


def score(
    rows: Sequence[tuple[str, Path, str]],
    out: Path,
    transcribe: Callable[[np.ndarray], str],
    normalise: Callable[[str], str],
    judge: Callable[[np.ndarray], float] | None,
    stamp: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """Scores of (id, file, text) rows, in their order; those in `out` of the same sound, text and judge are taken over.

    A file that is not there counts as all words deleted (an empty hypothesis, `missing`).
    """
    known = read_scores(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # the earlier lines stay in the file until the end: an interruption loses nothing
    with out.open("a", encoding="utf-8") as file:
        file.write("\n")
        for key, path, text in rows:
            print_of = hash_file(path) if path.is_file() else None
            same = {"id": key, "sha256": print_of, "text": text, "judge": stamp}
            item = known.get(key, {})
            if any(item.get(name) != value for name, value in same.items()):
                item = {**same, "reference": words(text, normalise), "hypothesis": ""}
                if print_of is None:
                    item["missing"] = True
                else:
                    wave = load(path)
                    item["seconds"] = len(wave) / RATE
                    item["hypothesis"] = words(transcribe(wave), normalise)
                    if judge is not None:
                        item["distillmos"] = judge(wave)
                file.write(json.dumps(item) + "\n")
                file.flush()
            known[key] = item
            yield item
    partial = out.with_suffix(".partial")
    partial.write_text("".join(json.dumps(item) + "\n" for item in known.values()), encoding="utf-8")
    partial.replace(out)


def read_rows(path: Path) -> list[tuple[str, Path, str]]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(key, Path(file), text) for key, file, text, *_ in lines]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--whisper", type=Path, default=os.environ.get("MAMTRA_WHISPER"), help="CTranslate2 model folder"
    )
    parser.add_argument("--no-mos", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    if args.whisper is None or not (Path(args.whisper) / "model.bin").is_file():
        parser.error("give the folder of a CTranslate2 Whisper with --whisper DIR or MAMTRA_WHISPER")
    transcribe, heard = whisper(Path(args.whisper), args.threads)
    normalise, norm = normaliser()
    judge, rated = (None, {"mos_missing": "not asked for"}) if args.no_mos else mos(args.threads)
    for item in score(read_rows(args.list), args.out, transcribe, normalise, judge, {**heard, **norm, **rated}):
        print(json.dumps({"id": item["id"]}), flush=True)


if __name__ == "__main__":
    main()
