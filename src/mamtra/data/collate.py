"""Micro-batches as tensors, collated ahead of the device by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.data.bucket_sampler import MicroBatch
from mamtra.data.token_shards import TokenShards
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import IGNORE, PAD, SPEECH, bistream, fits_bistream, opened, unistream

Layout = Literal["unistream", "bistream", "mixed"]
Item = TypeVar("Item")


class Collator:
    """Makes the tensors of a micro-batch.

    Args:
        data: the corpus.
        config: of the model.
        layout: ``mixed`` chooses one of both at random for each sequence, as CosyVoice 2 does; sequences too short for the
            bistream layout are always unistream.
        token_noise: fraction of the speech tokens in the input that are replaced by random ones; targets are not changed.
        opening: text ids before every text.
        fixed: pad to the shape of the bucket, as CUDA graphs need; otherwise to the longest sequence.
        seed: of the random choices, which depend on it and on the number of the micro-batch alone.
    """

    def __init__(
        self,
        data: TokenShards,
        config: SpeechLMConfig,
        *,
        layout: Layout = "unistream",
        token_noise: float = 0.0,
        opening: Sequence[int] = (),
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        self._data, self._config, self._layout, self._opening = data, config, layout, opening
        self._disturbed, self._fixed, self._seed = token_noise, fixed, seed

    def __call__(self, batch: MicroBatch) -> dict[str, Tensor]:
        """``kind``, ``ids``, ``targets``, each (B, L) int64.

        Raises:
            MamTraError: the corpus holds ids outside its bounds.
        """
        rng = np.random.default_rng([self._seed, batch.epoch, batch.number, 1])
        found = [[self._data[row] for row in members] for members in batch.members]
        texts = [np.concatenate([u.text for u in sequence]) for sequence in found]
        speeches = [np.concatenate([u.speech for u in sequence]) for sequence in found]
        made = opened(unistream(texts, speeches, eos_id=self._config.end_target), self._opening)
        kind, ids, targets = made.kind, made.ids, made.targets
        turn = self._interleaved(texts, speeches, rng)
        if len(turn):
            chunked = bistream(
                [texts[i] for i in turn], [speeches[i] for i in turn],
                eos_id=self._config.end_target, fill_id=self._config.fill_id, mix=self._config.mix_ratio,
            )  # fmt: skip
            both = opened(chunked, self._opening)
            for whole, part in ((kind, both.kind), (ids, both.ids), (targets, both.targets)):
                whole[turn, : part.shape[1]] = part
        if self._disturbed > 0:
            chosen = torch.from_numpy(rng.random(tuple(ids.shape)) < self._disturbed) & (kind == SPEECH)
            ids = torch.where(
                chosen, torch.from_numpy(rng.integers(self._config.num_speech_tokens, size=tuple(ids.shape))), ids
            )
        if self._fixed:
            padding = (0, batch.length - kind.shape[1], 0, batch.rows - kind.shape[0])
            kind, ids = F.pad(kind, padding, value=PAD), F.pad(ids, padding, value=PAD)
            targets = F.pad(targets, padding, value=IGNORE)
        return {"kind": kind, "ids": ids, "targets": targets}

    def _interleaved(self, texts: list[np.ndarray], speeches: list[np.ndarray], rng: np.random.Generator) -> list[int]:
        if self._layout == "unistream":
            return []
        wanted = rng.random(len(texts)) < 0.5 if self._layout == "mixed" else np.ones(len(texts), bool)
        fits = [fits_bistream(len(t), len(s), self._config.mix_ratio) for t, s in zip(texts, speeches, strict=True)]
        return np.flatnonzero(wanted & fits).tolist()


def ahead(make: Callable[[], Item], depth: int = 4) -> Iterator[Item]:
    """The results of calling `make` repeatedly, computed by a thread up to `depth` calls ahead.

    An error of `make` is raised in place of its result. Close the iterator at its end: a thread that still computes with torch
    while the interpreter ends aborts the process.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(entry, timeout=0.2)
            except queue.Full:
                continue

    def fill() -> None:
        while not stopped.is_set():
            try:
                put((make(), None))
            except BaseException as error:
                put((None, error))
                return

    thread = threading.Thread(target=fill, name="mamtra-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
