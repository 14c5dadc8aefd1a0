"""Small corpora of random tokens."""

from __future__ import annotations

import numpy as np

from mamtra.data.token_shards import TokenShards, Utterance, write_corpus


def make_corpus(directory, count=60, *, vocabulary=50, codes=6561, seed=0, longest=60, **manifest) -> TokenShards:
    rng = np.random.default_rng(seed)
    rows = [
        Utterance(
            rng.integers(1, vocabulary, rng.integers(2, 12)),
            rng.integers(0, codes, rng.integers(5, longest)),
            int(rng.integers(3)),
            i % 2,
        )
        for i in range(count)
    ]
    names = {"speakers": ["a", "b", "c"], "sources": ["x", "y"]}
    write_corpus(
        directory, rows, per_shard=25, num_speech_tokens=codes, text_vocab_size=vocabulary, **names, **manifest
    )
    return TokenShards(directory)
