"""Split a token set into training and validation rows, as `train_lm.py` splits it: every hundredth row is for validation.

    python hold_out.py tokens.npz tokens_train.npz tokens_held.npz

`experiments.yaml` reads both as token shards, made of them by `mamtra prepare`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from lm_data import held_out
from tokens import TokenSet


def split(path: Path, train: Path, validation: Path) -> tuple[int, int]:
    """Write both halves; returns their numbers of utterances."""
    data = TokenSet.load(path)
    held = held_out(data)
    with np.load(path) as arrays:
        for place, rows in ((train, np.flatnonzero(~held)), (validation, np.flatnonzero(held))):
            np.savez_compressed(
                place,
                speech=np.concatenate([data.codes(row) for row in rows]).astype(arrays["speech"].dtype),
                text=np.concatenate([data.ids(row) for row in rows]).astype(arrays["text"].dtype),
                **{name: arrays[name][rows] for name in ("speech_len", "text_len", "speaker", "source")},
                **{name: arrays[name] for name in ("speakers", "sources")},
            )
    return int((~held).sum()), int(held.sum())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print("{} training and {} validation utterances".format(*split(*map(Path, sys.argv[1:]))))
