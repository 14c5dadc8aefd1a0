"""Embed every utterance of a corpus with a speaker encoder that is there.

    python embed_speakers.py --corpus DIR ... --speaker src/mamtra/assets/mini --out rows.npz [--device cuda]

The encoder is the file of its training, or a model directory. Writes float16 unit embeddings (rows, 192).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from corpus import Corpus
from train_speaker import embed_corpus
from trained import load_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--speaker", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    encoder = load_network(args.speaker, "speaker_encoder").to(args.device)
    embeddings = embed_corpus(encoder, Corpus(args.corpus, args.device, ("audio16",)), args.device)
    np.savez_compressed(args.out, embeddings=embeddings)
    print(f"{len(embeddings)} embeddings -> {args.out}")


if __name__ == "__main__":
    main()
