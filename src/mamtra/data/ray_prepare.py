"""Tokenization of a corpus on several machines by Ray Data, with the results of a single process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.checkpoints.find import find_model
from mamtra.data.corpora import HUB
from mamtra.data.recordings import Item, Recordings
from mamtra.data.tokenize import Filter, Tokenizer, Tokens
from mamtra.runtime.ray_cluster import HERE
from mamtra.runtime.ray_data import RayData


class RayTokenizer:
    """Tokenizes parts of a corpus in a pool of Ray actors, each with its own model; this process receives the tokens.

    Every machine needs this package, and the recordings and the model at the same paths. The
    parts of a machine that fails are given to others.

    Args:
        corpus: with absolute paths, see `absolute`.
        model: directory or name, whose tokenizers are used.
        keep: filter of the recordings.
        device: of each actor; a GPU is used by one actor.
        address: see `mamtra.runtime.ray_data.RayData`.
        workers: largest number of actors; as many as the cluster has room for by default.

    Raises:
        MamTraError: Ray is not installed, or nothing answers at the address.
    """

    def __init__(
        self,
        corpus: Recordings,
        model: str,
        keep: Filter,
        device: torch.device,
        *,
        address: str = HERE,
        workers: int | None = None,
    ) -> None:
        self._ray = RayData("Preparing with --ray", address, workers, gpu=device.type == "cuda")
        self._given = {"corpus": corpus, "model": _anywhere(model), "keep": keep, "device": device.type}

    def __enter__(self) -> RayTokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.close()

    def each(self, parts: Sequence[Sequence[Item]]) -> Iterator[tuple[int, list[Tokens]]]:
        """Parts by number, in the order in which they are finished; see `Tokenizer.each`.

        Raises:
            MamTraError: the model cannot tokenize, or the cluster fails.
        """
        if not parts:
            return
        rows = [{"part": number, "items": json.dumps(part)} for number, part in enumerate(parts)]
        for row in self._ray.map(rows, _Actor, self._given):
            yield int(row["part"]), [_read(content) for content in json.loads(row["tokens"])]


class _Actor:
    """One process on the cluster."""

    def __init__(self, corpus: Recordings, model: str, keep: Filter, device: str) -> None:
        torch.set_num_threads(1)
        self._tokenizer = Tokenizer(corpus, model, keep, torch.device(device))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        tokens = [self._tokenizer([Item(*item) for item in json.loads(items)]) for items in batch["items"]]
        return {"part": batch["part"], "tokens": [json.dumps([_plain(t) for t in part]) for part in tokens]}


def _plain(tokens: Tokens) -> dict[str, Any]:
    return {**tokens._asdict(), "text": tokens.text.tolist(), "speech": tokens.speech.tolist()}


def _read(content: dict[str, Any]) -> Tokens:
    ids = {name: np.array(content[name], np.int64) for name in ("text", "speech")}
    return Tokens(**{**content, **ids})


def absolute(place: str) -> str:
    """The absolute path of a corpus, for processes with other working directories; names of data sets are unchanged."""
    kind, path = (HUB, place.removeprefix(HUB)) if place.startswith(HUB) else ("", place)
    return kind + (os.path.abspath(path) if os.path.exists(path) else path)


def _anywhere(model: str) -> str:
    """The same for a model; built-in and downloaded models keep their names."""
    found = find_model(model)
    return str(found.resolve()) if found == Path(os.path.expanduser(model)) else model
