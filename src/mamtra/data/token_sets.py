"""Token shards from a token set: a .npz with one array of all utterances."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mamtra.data.token_shards import Manifest, Utterance, write_corpus
from mamtra.errors import MamTraError
from mamtra.runtime.npz_files import read_lists

_PARTS, _NAMES = ("speech", "text"), ("speaker", "source")


def import_token_set(
    path: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    text_vocab_size: int,
    num_speech_tokens: int = 6561,
    speech_tokenizer: str = "",
    text_tokenizer: str = "",
    per_shard: int = 10_000,
) -> Manifest:
    """Write the shards of a token set.

    Args:
        path: a .npz with the arrays speech, speech_len, text, text_len and, where known, speaker, speakers, source, sources.
        directory: made where it does not exist.
        text_vocab_size: text ids are below it.
        num_speech_tokens: speech tokens are below it.
        speech_tokenizer: hash of the tokenizer that made the speech tokens.
        text_tokenizer: hash of the file that made the text ids.
        per_shard: utterances of a shard.

    Raises:
        MamTraError: it is no token set, is empty or holds an empty utterance or ids beyond these sizes.
    """
    lists = [name for part in _PARTS for name in (part, f"{part}_len")]
    try:
        arrays = read_lists(Path(path), lists, maybe=_NAMES, words=[f"{name}s" for name in _NAMES])
    except ValueError as error:
        raise MamTraError(
            f"{path} is not a token set: it needs {', '.join(lists)}, each a list of whole numbers."
        ) from error
    lengths = {part: arrays[f"{part}_len"] for part in _PARTS}
    count = len(lengths["speech"])
    whole = all(
        len(lengths[part]) == count
        and lengths[part].min(initial=0) >= 0
        # the sum of damaged lengths may not fit into an int64
        and int(lengths[part].sum(dtype=object)) == len(arrays[part])
        for part in _PARTS
    )
    if not whole or count == 0:
        raise MamTraError(f"{path} is empty or damaged: its lengths do not add up.")
    for part in _PARTS:
        if not (filled := lengths[part] > 0).all():
            raise MamTraError(f"{path}: utterance {int(np.argmin(filled)) + 1} has no {part} ids; leave it out.")
    for part, size in (("speech", num_speech_tokens), ("text", text_vocab_size)):
        if arrays[part].min(initial=0) < 0 or arrays[part].max(initial=0) >= size:
            raise MamTraError(f"{path} holds {part} ids outside 0 to {size - 1}; use data made for this model.")
    names = {part: [str(name) for name in arrays.get(f"{part}s", ["unknown"])] for part in _NAMES}
    numbers = {part: arrays.get(part, np.zeros(count, np.int64)) for part in _NAMES}
    for part, known in names.items():
        if len(numbers[part]) != count or not 0 <= numbers[part].min() <= numbers[part].max() < len(known):
            raise MamTraError(f"{path} is damaged: {part} does not give each utterance one of the {part}s.")

    def rows() -> Iterator[Utterance]:
        ends = {part: np.cumsum(lengths[part]) for part in lengths}
        for i in range(count):
            text, speech = (arrays[p][ends[p][i] - lengths[p][i] : ends[p][i]] for p in ("text", "speech"))
            yield Utterance(text, speech, int(numbers["speaker"][i]), int(numbers["source"][i]))

    return write_corpus(
        directory, rows(), per_shard=per_shard, num_speech_tokens=num_speech_tokens, text_vocab_size=text_vocab_size,
        speech_tokenizer=speech_tokenizer, text_tokenizer=text_tokenizer, speakers=names["speaker"], sources=names["source"],
        about={"made_from": Path(path).name},
    )  # fmt: skip
