"""Training data: recordings, tokenization, token shards, batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamtra.data.api import prepare
    from mamtra.data.corpus import Corpus, open_corpus
    from mamtra.data.token_shards import TokenShards

__all__ = ["Corpus", "TokenShards", "open_corpus", "prepare"]

_HOME = {
    "Corpus": "mamtra.data.corpus",
    "TokenShards": "mamtra.data.token_shards",
    "open_corpus": "mamtra.data.corpus",
    "prepare": "mamtra.data.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
