"""Stored outputs of a teacher: top-k log-probabilities of every utterance, computed once for all its students."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mamtra.checkpoints.tensor_files import hash_tensors
from mamtra.data.bucket_sampler import MicroBatch, Sampler
from mamtra.data.collate import Collator
from mamtra.data.corpus import Corpus
from mamtra.data.token_shards import TokenShards
from mamtra.distill.config import DistillConfig
from mamtra.distill.distill_loss import cast_linear_weights_to_bf16
from mamtra.distill.distributed import Processes
from mamtra.distill.models import read_weights
from mamtra.distill.topk import top_k_of
from mamtra.errors import MamTraError
from mamtra.models.layout import IGNORE
from mamtra.runtime.files import hash_files
from mamtra.runtime.json_files import read_json, write_json

if TYPE_CHECKING:
    from mamtra.checkpoints.stored_lm import StoredLM

INDEX = "cache.json"
_ARRAYS = {"top_ids": np.int16, "top_log_p": np.float16, "top_rest": np.float16}


class TeacherCache:
    """Distributions at every position that predicts speech: M + 1 of an utterance with M speech tokens, in the order of the corpus.

    Files are raw arrays without headers: ``top_ids.bin`` and ``top_log_p.bin`` (positions, k), ``top_rest.bin`` (positions,).

    Args:
        directory: of a complete cache.
        data: the corpus that it was made of.
        k: tokens that it holds at each position.
        opening: number of text ids before every text.

    Raises:
        MamTraError: a file is missing or damaged.
    """

    def __init__(self, directory: Path, data: TokenShards, k: int, opening: int = 0) -> None:
        self.k, self._before = k, 1 + opening
        known = read_json(directory / INDEX).get("sha256", {})
        for name in _ARRAYS:
            path = directory / f"{name}.bin"
            if not path.is_file() or (isinstance(known, dict) and known.get(name, "") not in ("", hash_files(path))):
                raise MamTraError(f"{path} is missing or damaged; remove {directory}, and the cache is made again.")
        self._first = np.cumsum(np.concatenate([[0], data.speech_len + 1]))
        self._text = data.text_len
        self._arrays = _maps(directory, int(self._first[-1]), self.k, "r")

    def read(self, batch: MicroBatch, made: dict[str, Tensor]) -> dict[str, Tensor]:
        """The distributions of a collated micro-batch, as the fields of `TopK` with "top_" before them.

        Args:
            batch: of single utterances in the unistream layout.
            made: its tensors.
        """
        found = self.blank(*made["targets"].shape)
        for place, (row,) in enumerate(batch.members):
            first = self._before + int(self._text[row])
            at = slice(first, first + int(self._first[row + 1] - self._first[row]))
            for name, array in self._arrays.items():
                found[name][place, at] = torch.from_numpy(np.array(array[self._first[row] : self._first[row + 1]]))
        return found

    def blank(self, rows: int, length: int) -> dict[str, Tensor]:
        """The same tensors, empty."""
        return {
            "top_ids": torch.zeros(rows, length, self.k, dtype=torch.int16),
            "top_log_p": torch.zeros(rows, length, self.k, dtype=torch.float16),
            "top_rest": torch.zeros(rows, length, dtype=torch.float16),
        }


def open_cache(
    config: DistillConfig, teacher: StoredLM, opening: Sequence[int], corpus: Corpus, processes: Processes
) -> TeacherCache | None:
    """The cache that a configuration names, filled if it does not exist; None where it names none.

    Raises:
        MamTraError: the directory holds the outputs of another teacher, corpus or k, or the vocabulary is too large.
    """
    if config.teacher.cache is None:
        return None
    directory = Path(config.teacher.cache)
    wanted = {
        "teacher": hash_tensors(teacher.source),
        "corpus": [info.sha256 for info in corpus.train.manifest.shards],
        "top_k": config.teacher.top_k,
        "precision": config.run.precision,
        **({"opening": list(opening)} if opening else {}),
    }
    if teacher.config.speech_vocab_size > 2**15:
        raise MamTraError("A teacher with more than 32,768 speech tokens cannot be cached; leave teacher.cache out.")
    if (directory / INDEX).is_file():
        found = read_json(directory / INDEX)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise MamTraError(f"The cache {directory} was made with another {name}; name another directory.")
    elif processes.first:
        _fill(directory, wanted, config, teacher, opening, corpus.train, processes.device)
    processes.wait()
    return TeacherCache(directory, corpus.train, config.teacher.top_k, len(opening))


@torch.no_grad()
def _fill(
    directory: Path,
    about: dict[str, Any],
    config: DistillConfig,
    stored: StoredLM,
    opening: Sequence[int],
    data: TokenShards,
    device: torch.device,
) -> None:
    lm = read_weights(stored).to(device)
    half = config.run.precision == "bf16"
    if half:
        cast_linear_weights_to_bf16(lm)
    directory.mkdir(parents=True, exist_ok=True)
    first = np.cumsum(np.concatenate([[0], data.speech_len + 1]))
    arrays = _maps(directory, int(first[-1]), about["top_k"], "w+")
    everything, budget = np.arange(len(data)), config.batch.tokens
    sampler = Sampler(data.text_len, data.speech_len, data.speaker, everything, budget=budget, opening=len(opening))
    maker = Collator(data, stored.config, opening=opening)
    for batch in sampler.epoch(0):
        made = {name: value.to(device) for name, value in maker(batch).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            hidden = lm(lm.embed(made["kind"], made["ids"]))
        for place, (row,) in enumerate(batch.members):
            predicted = made["targets"][place] != IGNORE
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = lm.logits(hidden[place, predicted])
            for name, value in zip(arrays, top_k_of(logits, about["top_k"]), strict=True):
                arrays[name][first[row] : first[row + 1]] = value.cpu().numpy()
    for array in arrays.values():
        array.flush()
    write_json(directory / INDEX, about | {"sha256": {name: hash_files(directory / f"{name}.bin") for name in arrays}})


def _maps(directory: Path, positions: int, k: int, mode: str) -> dict[str, np.memmap]:
    shapes: dict[str, Sequence[int]] = {
        "top_ids": (positions, k),
        "top_log_p": (positions, k),
        "top_rest": (positions,),
    }
    return {
        name: np.memmap(directory / f"{name}.bin", kind, mode, shape=tuple(shapes[name]))
        for name, kind in _ARRAYS.items()
    }
