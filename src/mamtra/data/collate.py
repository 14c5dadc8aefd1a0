"""From the numbers of utterances to tensors, ahead of the device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.data.bucket_sampler import MicroBatch
from mamtra.data.token_shards import TokenShards
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import IGNORE, PAD, SPEECH, bistream, fits_bistream, unistream

Layout = Literal["unistream", "bistream", "mixed"]
Item = TypeVar("Item")


class BatchMaker:
    """Lays out utterances.

    Args:
        data: the corpus.
        config: of the model.
        layout: ``mixed`` draws one of both for each sequence, as CosyVoice 2 does; sequences that do not fit the bistream
            layout are laid out in the other.
        disturbed: share of the speech codes in the input that are drawn at random; what was said before may then be wrong.
        fixed: pad to the shape of the bucket, as CUDA graphs need it; otherwise to the longest sequence.
        seed: of the draws, which depend on the number of the micro-batch as well and on nothing else.
    """

    def __init__(
        self,
        data: TokenShards,
        config: SpeechLMConfig,
        *,
        layout: Layout = "unistream",
        disturbed: float = 0.0,
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        self._data, self._config, self._layout = data, config, layout
        self._disturbed, self._fixed, self._seed = disturbed, fixed, seed

    def __call__(self, batch: MicroBatch) -> dict[str, Tensor]:
        """``kind``, ``ids``, ``targets``, each (B, L) int64.

        Raises:
            MamTraError: the corpus holds ids outside its bounds.
        """
        rng = np.random.default_rng([self._seed, batch.epoch, batch.number, 1])
        found = [[self._data[row] for row in members] for members in batch.members]
        texts = [np.concatenate([u.text for u in sequence]) for sequence in found]
        speeches = [np.concatenate([u.speech for u in sequence]) for sequence in found]
        made = unistream(texts, speeches, eos_id=self._config.eos_id)
        kind, ids, targets = made.kind, made.ids, made.targets
        turn = self._interleaved(texts, speeches, rng)
        if len(turn):
            both = bistream(
                [texts[i] for i in turn], [speeches[i] for i in turn],
                eos_id=self._config.eos_id, fill_id=self._config.fill_id,
            )  # fmt: skip
            for whole, part in ((kind, both.kind), (ids, both.ids), (targets, both.targets)):
                whole[turn, : part.shape[1]] = part
        if self._disturbed > 0:
            chosen = torch.from_numpy(rng.random(tuple(ids.shape)) < self._disturbed) & (kind == SPEECH)
            ids = torch.where(
                chosen, torch.from_numpy(rng.integers(self._config.num_speech_tokens, size=tuple(ids.shape))), ids
            )
        if self._fixed:
            room = (0, batch.length - kind.shape[1], 0, batch.rows - kind.shape[0])
            kind, ids = F.pad(kind, room, value=PAD), F.pad(ids, room, value=PAD)
            targets = F.pad(targets, room, value=IGNORE)
        return {"kind": kind, "ids": ids, "targets": targets}

    def _interleaved(self, texts: list[np.ndarray], speeches: list[np.ndarray], rng: np.random.Generator) -> list[int]:
        if self._layout == "unistream":
            return []
        wanted = rng.random(len(texts)) < 0.5 if self._layout == "mixed" else np.ones(len(texts), bool)
        fits = [fits_bistream(len(t), len(s)) for t, s in zip(texts, speeches, strict=True)]
        return np.flatnonzero(wanted & fits).tolist()


def ahead(make: Callable[[], Item], depth: int = 4) -> Iterator[Item]:
    """The results of calling `make` again and again, worked out by a thread up to `depth` calls early.

    An error of `make` is raised where its result would have come.
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

    threading.Thread(target=fill, daemon=True).start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
