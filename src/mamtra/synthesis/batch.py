"""Many texts at once: their segments side by side through the language model, several at a time through flow and vocoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mamtra.engine.engine import Engine
from mamtra.engine.request import TokenStream
from mamtra.errors import MamTraError
from mamtra.models.layout import prompt
from mamtra.models.speech_lm import SpeechLM
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples, speak
from mamtra.synthesis.repeated_words import set_apart
from mamtra.synthesis.retries import ONCE, Retries, TokenRun, without_long_silence
from mamtra.synthesis.sentence import lm_prompt, start_run
from mamtra.synthesis.token2wav import batch_to_samples, tokens_to_samples
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice

AHEAD = {"cuda": 256}
"""Segments that wait for the language model while earlier ones are decoded, by the kind of device; elsewhere none, so that a text
is finished before the next is read."""
TOGETHER = {"cuda": 64}
"""Segments in one call of the flow; elsewhere one, whose samples are those of the segment alone to the bit."""
SORTED = 4
"""Calls of the flow whose segments are sorted by length, so that little is padded."""
_TEXT_STRIDE = 104_395_301
"""Between the seeds of two texts."""


class Batch:
    """Texts on their way through the language model, flow and vocoder, in the order in which they were added.

    Args:
        engine: of the language model.
        ahead: segments that the engine is given before the first of them is waited for.
        together: segments in one call of the flow.
    """

    def __init__(self, engine: Engine, ahead: int, together: int) -> None:
        self._engine, self._ahead, self._together = engine, ahead, together
        self._texts: deque[_Text] = deque()
        self._waiting: deque[tuple[_Text, int, int]] = deque()
        self._tasks: deque[_Task] = deque()
        self._ready: list[tuple[_Text, int, TokenRun]] = []

    @classmethod
    def of(cls, model: Model) -> Batch:
        """With the engine of a model, and with what suits its device."""
        kind = model.device.type
        return cls(model.engine, AHEAD.get(kind, 0), TOGETHER.get(kind, 1))

    def add(self, request: Request, segments: Sequence[Segment]) -> None:
        """Take in a text."""
        text = _Text(request, segments, set(range(len(segments))))
        self._texts.append(text)
        self._waiting.extend((text, index, 0) for index in range(len(segments)))
        self._submit()

    def refuse(self, error: MamTraError) -> None:
        """Take in a text that cannot be spoken, so that its error comes in its place."""
        self._texts.append(_Text(None, (), set(), error=error))

    def finished(self, *, last: bool = False) -> Iterator[tuple[Request | None, list[AudioChunk] | MamTraError]]:
        """Texts whose turn has come, each with its audio, or why there is none.

        Args:
            last: no more texts will be added: all of them.
        """
        while len(self._waiting) + len(self._tasks) > (0 if last else self._ahead):
            self._submit()
            if self._tasks:
                self._collect(self._tasks.popleft())
            if len(self._ready) >= self._together * (SORTED if self._together > 1 else 1):
                self._vocode()
        if last:
            self._vocode()
        while self._texts and not self._texts[0].waiting:
            text = self._texts.popleft()
            yield text.request, text.result()

    def cancel(self) -> None:
        """End what is on its way."""
        self._waiting.clear()
        for task in self._tasks:
            task.stream.cancel()

    def _submit(self) -> None:
        """Give the engine what it may hold."""
        while self._waiting and len(self._tasks) < max(1, self._ahead):
            self._start(*self._waiting.popleft())

    def _start(self, text: _Text, index: int, attempt: int) -> None:
        request = text.request
        try:
            ids, seed = request.reading(text.segments[index].ids, attempt).ids, request.seed_of(index, attempt)
            stream = start_run(request.model, request.voice, ids, seed, self._engine)
        except MamTraError as error:
            text.fail(index, error)
        else:
            self._tasks.append(_Task(text, index, attempt, stream))

    def _collect(self, task: _Task) -> None:
        text, index, retries = task.text, task.index, task.text.request.retries
        try:
            tokens = list(without_long_silence(task.stream.result(), text.request.model.generation))
            ids, attempt = text.segments[index].ids, task.attempt
            found = text.request.cover(ids, text.request.attention(ids, tokens, attempt), attempt)
            run = TokenRun(tokens, str(task.stream.finish_reason), task.attempt, *found)
            runs = text.runs.setdefault(index, [])
            runs.append(run)
            if not retries.accepts(run) and task.attempt + 1 < retries.attempts:
                self._waiting.append((text, index, task.attempt + 1))
                return
            best = retries.best(runs)
        except MamTraError as error:
            text.fail(index, error)
            return
        if best is None:
            text.waiting.discard(index)
        else:
            self._ready.append((text, index, best))

    def _vocode(self) -> None:
        ready = sorted(self._ready, key=lambda one: len(one[2].tokens)) if self._together > 1 else self._ready
        self._ready = []
        for start in range(0, len(ready), self._together):
            chosen = ready[start : start + self._together]
            try:
                audio = self._samples(chosen)
            except MamTraError as error:
                for text, index, _ in chosen:
                    text.fail(index, error)
                continue
            for (text, index, run), samples in zip(chosen, audio, strict=True):
                read = in_samples(run.read, len(samples) / len(run.tokens))
                chunk = AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1, read=read)
                text.audio[index] = [chunk]
                text.waiting.discard(index)

    def _samples(self, chosen: list[tuple[_Text, int, TokenRun]]) -> list[np.ndarray]:
        requests = [text.request for text, _, _ in chosen]
        tokens = [run.tokens for _, _, run in chosen]
        seeds = [text.request.seed_of(index, run.attempt) for text, index, run in chosen]
        if self._together == 1:
            (one,) = requests
            return [tokens_to_samples(one.model, one.voice, tokens[0], seed=seeds[0], speed=one.speed)]
        voices, speeds = [one.voice for one in requests], [one.speed for one in requests]
        return batch_to_samples(requests[0].model, voices, tokens, seeds=seeds, speeds=speeds)


@dataclass
class _Text:
    """A text that was added.

    Attributes:
        request: of the text.
        segments: of the text.
        waiting: places of the segments that are not finished.
        runs: of the language model, by place.
        audio: one chunk for each place that is not silent.
        error: why the text has no audio.
    """

    request: Request | None
    segments: Sequence[Segment]
    waiting: set[int]
    runs: dict[int, list[TokenRun]] = field(default_factory=dict)
    audio: dict[int, list[AudioChunk]] = field(default_factory=dict)
    error: MamTraError | None = None

    def fail(self, index: int, error: MamTraError) -> None:
        self.waiting.discard(index)
        self.error = self.error or error

    def result(self) -> list[AudioChunk] | MamTraError:
        if self.error is not None:
            return self.error
        try:
            return list(speak(self.request, self.segments, lambda _, __, index: self.audio.get(index, ())))
        except MamTraError as error:
            return error


@dataclass
class _Task:
    """A run of the language model."""

    text: _Text
    index: int
    attempt: int
    stream: TokenStream


def speak_texts(
    model: Model, voice: Voice, texts: Sequence[str], *, seed: int = 0, rows: int = 128, retries: Retries = ONCE
) -> Iterator[tuple[int, np.ndarray]]:
    """Every text by its number, with its samples (T,), empty where the model said nothing.

    The text is cut, sampled and joined as in `TTS.say`; on a CPU from other random draws, in steps of many rows. By default each
    segment is tried once.

    Args:
        model: on its device.
        voice: to speak with.
        texts: to say.
        seed: of the draws; with the number of a text it fixes the text's audio.
        rows: segments side by side in the language model.
        retries: of runs that fail.

    Raises:
        MamTraError: a text has no words, or its logits or samples are not finite numbers.
    """
    jobs = [(voice, text, (seed + number * _TEXT_STRIDE) % 2**63) for number, text in enumerate(texts)]
    yield from enumerate(speak_jobs(model, jobs, rows=rows, retries=retries))


def speak_jobs(
    model: Model,
    jobs: Sequence[tuple[Voice, str, int]],
    *,
    lm: SpeechLM | None = None,
    rows: int = 128,
    retries: Retries = ONCE,
    **options: Any,
) -> Iterator[np.ndarray]:
    """Samples (T,) of every text in its voice, in the order of the jobs.

    Args:
        model: on its device.
        jobs: voice, text and seed.
        lm: to use instead of the model's.
        rows: segments side by side in the language model.
        retries: of runs that fail.
        options: of the engine.

    Raises:
        MamTraError: as in `speak_texts`.
    """
    segments = [model.text.segments(text) for _, text, _ in jobs]
    marks = model.generation.apart if retries.attempts > 1 else None
    read = [segment.ids for row in segments for segment in row]
    lengths = [len(set_apart(ids, marks).ids if marks else ids) for ids in read]
    if not lengths:
        return
    capacity = positions_needed(model, {id(voice): voice for voice, _, _ in jobs}.values(), lengths)
    slots = min(rows, len(lengths))
    with Engine(lm or model.lm, slots=slots, capacity=capacity, deterministic=False, **options) as engine:
        batch = Batch(engine, 2 * rows, TOGETHER.get(model.device.type, 16))
        for (voice, _, seed), row in zip(jobs, segments, strict=True):
            batch.add(Request(model, voice, seed, retries=retries), row)
        for _, found in batch.finished(last=True):
            if isinstance(found, MamTraError):
                raise found
            yield np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in found)])


def positions_needed(model: Model, voices: Iterable[Voice], lengths: Iterable[int]) -> int:
    """Positions of a stream that may speak a segment of any of these lengths, in ids, in any of these voices."""
    opened = 0
    for voice in voices:
        opening, said, speech = lm_prompt(model, voice, ())
        opened = max(opened, prompt([*opening, *said], speech)[0].shape[1])
    return opened + max(n + model.generation.longest(n) for n in lengths)
