"""Speech tokens and text ids of recordings: one by one in CPU processes, or in batches on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from mamtra.audio.decode import TooLong
from mamtra.checkpoints.find import find_model
from mamtra.data.recordings import RATE, Item, Recordings
from mamtra.encoders.speech_tokenizer import MARGIN, SAMPLES_PER_TOKEN, SpeechTokenizer
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.synthesis.open_model import open_model

FRAMES = 100
"""Frames of 10 ms a second, the unit of CosyVoice 2's filter of texts."""
SILENCE = 1e-3
"""Recordings whose samples are all smaller, -60 dB, are skipped."""
_GPU_TOKENS = 25_000


@dataclass(frozen=True)
class Filter:
    """Which recordings are kept; the defaults are those of CosyVoice 2's recipe.

    Attributes:
        min_seconds: shorter recordings are skipped.
        max_seconds: longer recordings are skipped.
        max_text: largest number of text ids.
        max_text_per_frame: largest number of text ids per 10 ms.
    """

    min_seconds: float = 1.0
    max_seconds: float = 60.0
    max_text: int = 200
    max_text_per_frame: float = 1.0

    def reason_against(self, seconds: float, text: int | None = None) -> str | None:
        """Why a recording is skipped, or None."""
        if seconds < self.min_seconds:
            return f"shorter than {self.min_seconds:g} s"
        if seconds > self.max_seconds:
            return f"longer than {self.max_seconds:g} s"
        if text is None:
            return None
        if text < 1:
            return "no text"
        if text > self.max_text:
            return f"more than {self.max_text} text ids"
        if text > self.max_text_per_frame * seconds * FRAMES:
            return "more text than there is time for"
        return None


class Tokens(NamedTuple):
    """Tokens of a recording, or the reason why it was skipped.

    Attributes:
        text: (T,) int64.
        speech: (M,) int64.
        seconds: of audio.
        reason: empty if it is kept.
        detail: message of an error.
    """

    text: np.ndarray
    speech: np.ndarray
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""


class Tokenizer:
    """Tokenizes the items of a corpus in order.

    Args:
        corpus: of the recordings.
        model: directory or name, whose tokenizers are used.
        keep: filter of the recordings.
        device: a GPU tokenizes in batches.
        workers: processes on the CPU; 1 is this process.
    """

    def __init__(self, corpus: Recordings, model: str, keep: Filter, device: torch.device, workers: int = 1) -> None:
        self._corpus, self._name, self._keep, self._device = corpus, model, keep, device
        self._pool: ProcessPoolExecutor | None = None
        if device.type == "cpu" and workers > 1:
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=_begin, initargs=(corpus, model, keep)
            )

    @cached_property
    def _model(self) -> Model:
        return open_model(find_model(self._name))

    def __enter__(self) -> Tokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def each(self, parts: Sequence[Sequence[Item]]) -> Iterator[tuple[int, list[Tokens]]]:
        """Parts of a corpus in turn, by number; see `__call__`."""
        for number, part in enumerate(parts):
            yield number, self(part)

    def __call__(self, items: Sequence[Item]) -> list[Tokens]:
        """Tokens of each item.

        Raises:
            MamTraError: the model cannot tokenize, or a process died.
        """
        if self._device.type != "cpu":
            return self._in_batches(items)
        if self._pool is None:
            return [tokenize(item, self._corpus, self._model, self._keep) for item in items]
        try:
            return list(self._pool.map(_work, items, chunksize=8))
        except BrokenProcessPool as error:
            raise MamTraError(
                "A process of the tokenizer died, perhaps for want of memory; use fewer --workers."
            ) from error

    def _in_batches(self, items: Sequence[Item]) -> list[Tokens]:
        model = self._model
        network = model.speech_tokenizer
        if not isinstance(network, SpeechTokenizer):
            raise MamTraError(
                "The speech tokenizer of this model is an ONNX file, which runs on the CPU; use --device cpu."
            )
        network = network.to(self._device)
        with ThreadPoolExecutor(8) as threads:
            read = list(threads.map(partial(_read, corpus=self._corpus, model=model, keep=self._keep), items))
        found: list[Tokens] = [tokens for tokens, _ in read]
        order = sorted((len(wave), i) for i, (_, wave) in enumerate(read) if wave is not None)
        for group in _groups(order):
            waves = [torch.from_numpy(read[i][1]) for _, i in group]
            for (_, i), speech in zip(group, tokenize_batch(network, waves, self._device), strict=True):
                found[i] = found[i]._replace(speech=speech)
        return found


def tokenize(item: Item, corpus: Recordings, model: Model, keep: Filter) -> Tokens:
    """One item on the CPU."""
    tokens, wave = _read(item, corpus=corpus, model=model, keep=keep)
    if wave is None:
        return tokens
    speech = model.speech_tokenizer.tokenize(torch.from_numpy(wave)).numpy().astype(np.int64)
    return tokens._replace(speech=speech)


@torch.inference_mode()
def tokenize_batch(network: SpeechTokenizer, waves: Sequence[torch.Tensor], device: torch.device) -> list[np.ndarray]:
    """Speech tokens of several utterances of similar length.

    Args:
        network: on the device.
        waves: (T,) at 16 kHz each.
        device: of the network.
    """
    tokens = [-(-len(wave) // SAMPLES_PER_TOKEN) for wave in waves]
    margin, longest = MARGIN * SAMPLES_PER_TOKEN, max(tokens) * SAMPLES_PER_TOKEN
    padded = torch.stack([F.pad(wave, (margin, margin + longest - len(wave))) for wave in waves])
    speech = network(network.log_mel(padded.to(device))).cpu().numpy()
    return [row[MARGIN : MARGIN + count].astype(np.int64) for row, count in zip(speech, tokens, strict=True)]


def _read(item: Item, *, corpus: Recordings, model: Model, keep: Filter) -> tuple[Tokens, np.ndarray | None]:
    """Text ids and samples of an item, or why it is skipped."""
    nothing = np.zeros(0, np.int64)

    def skip(reason: str, detail: str = "", seconds: float = 0.0) -> tuple[Tokens, None]:
        return Tokens(nothing, nothing, seconds, reason, detail), None

    if item.problem:
        return skip(item.problem, item.detail)
    try:
        wave = corpus.read(item, keep.max_seconds)
    except TooLong:
        return skip(f"longer than {keep.max_seconds:g} s")
    except MamTraError as error:
        return skip("unreadable sound", str(error))
    seconds = len(wave) / RATE
    if (reason := keep.reason_against(seconds)) is not None:
        return skip(reason, seconds=seconds)
    if np.abs(wave - wave.mean()).max() < SILENCE:
        return skip("silent", seconds=seconds)
    try:
        text = np.array(model.text.encode(item.text) if item.text.strip() else [], np.int64)
    except MamTraError as error:
        return skip("unreadable text", f"{item.id}: {error}", seconds)
    if (reason := keep.reason_against(seconds, len(text))) is not None:
        return skip(reason, seconds=seconds)
    return Tokens(text, nothing, seconds), np.ascontiguousarray(wave, np.float32)


def _groups(order: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * order[end][0] > _GPU_TOKENS * SAMPLES_PER_TOKEN:
            yield order[start:end]
            start = end


_MINE: dict[str, object] = {}
"""State of a process of the pool, set when it starts."""


def _begin(corpus: Recordings, model: str, keep: Filter) -> None:
    torch.set_num_threads(1)
    _MINE.update(corpus=corpus, model=open_model(find_model(model)), keep=keep)


def _work(item: Item) -> Tokens:
    return tokenize(item, _MINE["corpus"], _MINE["model"], _MINE["keep"])
