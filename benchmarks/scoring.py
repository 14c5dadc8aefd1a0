"""Scoring: `mamtra.evaluate` over a folder of sound, in a process of its own.

    python scoring.py SET.tsv SOUNDS --out scores.jsonl --whisper DIR [--no-mos] [--threads N]

It may run in another Python than the voice, one that has faster-whisper, whisper-normalizer and (optionally) distillmos beside
mamtra's own requirements. One line for each utterance goes to standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "src"))

import torch

from mamtra.errors import MamTraError
from mamtra.evaluate.judges.asr import FasterWhisper
from mamtra.evaluate.judges.models import DistilMOS
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.systems import Sounds


def score(test_set: Path, sounds: Path, out: Path, scorer: Scorer) -> Iterator[int]:
    """Judge every line that has no row yet; yields how many are done."""
    return evaluate_set(Job(str(sounds), ""), read_set(test_set), out, scorer=scorer)


def distilmos() -> DistilMOS | None:
    """The rater of naturalness, or None where its packages are missing."""
    try:
        return DistilMOS()
    except MamTraError as error:
        print(error, file=sys.stderr)
        return None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--whisper", type=Path, default=os.environ.get("MAMTRA_WHISPER"), help="CTranslate2 model folder"
    )
    parser.add_argument("--no-mos", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    if args.whisper is None or not (Path(args.whisper) / "model.bin").is_file():
        parser.error("give the folder of a CTranslate2 Whisper with --whisper DIR or MAMTRA_WHISPER")
    torch.set_num_threads(args.threads)
    transcriber = FasterWhisper(args.whisper, args.threads)
    scorer = Scorer(Sounds(args.sounds), transcriber, rater=None if args.no_mos else distilmos())
    for done in score(args.set, args.sounds, args.out, scorer):
        print(done, flush=True)


if __name__ == "__main__":
    main()
