"""Training data: recordings, tokenization, token shards, batches."""

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.data.api import prepare
    from mamtra.data.corpus import Corpus, open_corpus
    from mamtra.data.token_shards import TokenShards

__all__ = ["Corpus", "TokenShards", "open_corpus", "prepare"]

__getattr__ = lazy_names(
    __name__,
    {
        "Corpus": "mamtra.data.corpus",
        "TokenShards": "mamtra.data.token_shards",
        "open_corpus": "mamtra.data.corpus",
        "prepare": "mamtra.data.api",
    },
)
