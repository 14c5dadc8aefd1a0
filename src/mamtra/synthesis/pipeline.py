"""From segments to audio: the one sequence of steps behind `say`, `stream`, batches and layer rankings.

A backend turns the ids of a segment into samples (`mamtra.synthesis.sentence` as a whole, `mamtra.synthesis.streaming` chunk by
chunk, `mamtra.synthesis.batch` for many texts); `speak` calls it segment by segment, trims the edges and adds the pauses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from mamtra.audio.trim import EdgeTrimmer, PauseBefore
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.errors import MamTraError
from mamtra.synthesis.coverage import Coverage
from mamtra.synthesis.repeated_words import Reading, set_apart
from mamtra.synthesis.retries import AGAIN, Retries, segment_seed
from mamtra.synthesis.spans import Span
from mamtra.text.bistream_text import Utterance
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice

MIN_SPEED, MAX_SPEED = 0.5, 2.0
MAX_CHARACTERS = 100_000
"""Of a text."""
TOKEN_RATE = 25
"""Speech tokens a second."""


class Speaks(Protocol):
    """What speaking asks of a model of either runtime: `mamtra.synthesis.model.Model`, `mamtra.light.model.LightModel`."""

    generation: GenerationConfig

    @property
    def sample_rate(self) -> int:
        """Of the audio, Hz."""

    @property
    def limits(self) -> tuple[int, int, int]:
        """Number of text ids, number of speech tokens, size of a speaker embedding."""


@dataclass(frozen=True)
class Request:
    """What all segments of a text have in common.

    Attributes:
        model: a `Speaks`, of the runtime of the backend.
        voice: to speak with.
        seed: with the place of a segment it fixes the segment's audio.
        speed: 0.5 (slow) to 2 (fast).
        retries: of runs of the LM that fail.
        flow_steps: of the flow; None for those of the model.
    """

    model: Any
    voice: Voice
    seed: int = 0
    speed: float = 1.0
    retries: Retries = AGAIN
    flow_steps: int | None = None

    @property
    def token_samples(self) -> float:
        """Samples of a speech token."""
        return self.model.sample_rate / (TOKEN_RATE * self.speed)

    def seed_of(self, index: int, attempt: int) -> int:
        """Seed of an attempt at a segment."""
        return segment_seed(self.seed, index, attempt)

    def checks(self, text_ids: Iterable[int]) -> bool:
        """Whether runs are checked for words left out: not where none is repeated, or the text is still arriving."""
        return self.retries.attempts > 1 and isinstance(text_ids, list)

    def reading(self, text_ids: Iterable[int], attempt: int) -> Reading:
        """What the LM reads in an attempt: the text as it is, in all but the first one with repeated words set apart.

        Text that is still arriving stays as it is.
        """
        marks = self.model.generation.apart
        if not attempt or marks is None or not isinstance(text_ids, list):
            return Reading(text_ids)
        return set_apart(text_ids, marks)

    def attention(self, text_ids: Iterable[int], tokens: list[int], attempt: int = 0) -> np.ndarray | None:
        """See `mamtra.synthesis.coverage.attention_of`, to what was read in the attempt; None where runs are not checked."""
        if not self.checks(text_ids):
            return None
        from mamtra.synthesis.coverage import attention_of

        return attention_of(self.model, self.voice, self.reading(text_ids, attempt).ids, tokens)

    def cover(
        self, text_ids: Iterable[int], attention: np.ndarray | None, attempt: int, *, ended: bool = True
    ) -> Coverage:
        """What an attempt made of the text, by its attention to what it read; see `Coverage.of`."""
        own = None if attention is None else attention[:, self.reading(text_ids, attempt).own]
        return Coverage.of(own, self.model.generation.pace, ended=ended)


@dataclass(frozen=True)
class AudioChunk:
    """Audio of a segment, or of a part of it.

    Attributes:
        samples: float32 (T,) in [-1, 1].
        tokens: number of speech tokens.
        finish_reason: "eos", or "length" where every attempt ran into the length limit; empty where more of the segment follows.
        attempts: how many times the LM was run.
        text: what is said, with the first chunk of a segment; of arriving text what was read for the chunk.
        spent: seconds of computing time.
        read: how much of the text is read when, where that is known: (2, n) samples since the segment began, and text ids
            read by then, see `in_samples`.
        span: what of the text is in it, and when.
    """

    samples: np.ndarray
    tokens: int
    finish_reason: str
    attempts: int
    text: str = ""
    spent: float = 0.0
    read: np.ndarray | None = None
    span: Span | None = None


Backend = Callable[[Request, Iterable[int], int], Iterable[AudioChunk]]
"""From a request, the text ids of a segment and its place to chunks of its audio, none where it stays silent."""


def speak(request: Request, segments: Iterable[Segment | Utterance], backend: Backend) -> Iterator[AudioChunk]:
    """Chunks of audio to be played one after the other, with trimmed edges and pauses; like the original they follow each other
    as they are, but for the pauses that the text asks for.

    Raises:
        MamTraError: the model gives no speech, or samples that are not finite.
    """
    rate = request.model.sample_rate
    original = request.model.generation.like_original
    for index, segment in enumerate(segments):
        started, tokens = time.perf_counter(), 0
        text, ids = (segment.text, segment.ids) if isinstance(segment, Segment) else ("", segment)
        written, read = (segment.written, segment.ids) if isinstance(segment, Segment) else ("", ())
        gap = (segment.pause_asked if original else segment.pause_before) / request.speed
        sent = 0  # samples of the segment
        edges = PauseBefore(rate, gap) if original else EdgeTrimmer(rate, gap)
        pause = edges.pause
        for chunk in backend(request, ids, index):
            if not np.isfinite(chunk.samples).all():
                raise MamTraError("The model made sound that is not a number; its weights are damaged or overflow.")
            samples = edges.push(chunk.samples, final=bool(chunk.finish_reason))
            tokens += chunk.tokens
            if not len(samples) and not chunk.finish_reason:
                continue
            if isinstance(segment, Utterance):
                text = written = segment.take_text()
            curve = _curve(chunk.read, edges.pause - edges.trimmed - sent / rate, rate)
            span, sent = Span(written, 0.0, len(samples) / rate, pause, read, curve), sent + len(samples)
            spent = time.perf_counter() - started
            yield replace(chunk, samples=samples, tokens=tokens, text=text, spent=spent, span=span)
            text, written, tokens, pause, read, started = "", "", 0, 0.0, (), time.perf_counter()


def in_samples(read: np.ndarray | None, token_samples: float) -> np.ndarray | None:
    """What `mamtra.synthesis.coverage.read_by` returns, in samples instead of tokens."""
    return None if read is None else np.stack([read[0] * token_samples, read[1]])


def _curve(read: np.ndarray | None, begin: float, rate: int) -> np.ndarray | None:
    """See `Span.curve`; the first token of the segment begins so many seconds after the span does."""
    return None if read is None else np.stack([begin + read[0] / rate, read[1]])


def check_text(text: str) -> str:
    """Refuse text that is empty or longer than `MAX_CHARACTERS`.

    Raises:
        MamTraError: it is.
    """
    if not text.strip():
        raise MamTraError("There is no text to speak.")
    if len(text) > MAX_CHARACTERS:
        raise MamTraError(f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} fit, so split it.")
    return text


def check_speed(speed: float) -> float:
    """Refuse a speed outside 0.5 .. 2.

    Raises:
        MamTraError: it is outside, or not a number.
    """
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise MamTraError(f"Speed {speed:g} is out of range; choose {MIN_SPEED:g} to {MAX_SPEED:g}.")
    return float(speed)


def check_voice(model: Speaks, voice: Voice) -> Voice:
    """Refuse a voice whose ids or sizes do not fit the model, as in damaged files and those of other models.

    Raises:
        MamTraError: an id outside the model's tables, or an embedding of another size.
    """
    texts, speeches, size = model.limits
    ids = ((voice.prompt_text, texts), (voice.prompt_speech, speeches))
    outside = any(len(part) and not 0 <= int(part.min()) <= int(part.max()) < rows for part, rows in ids)
    found = math.prod(voice.embedding.shape)
    if outside or found != size:
        what = "ids outside the model's tables" if outside else f"an embedding of {found}, not {size} numbers"
        raise MamTraError(
            f"The voice {voice.name!r} has {what}; it is damaged or was made for another model, so make it again."
        )
    return voice
