"""The result of synthesis: samples and how they came about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from mamtra.audio.formats import encode
from mamtra.audio.io import write_audio
from mamtra.audio.watermark import mark
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.spans import Span, moved


@dataclass(frozen=True)
class Audio:
    """Speech and how it came about.

    Attributes:
        samples: float32 (T,) in [-1, 1].
        sample_rate: Hz.
        text: what is said.
        seed: the seed used.
        voice: name of the voice.
        tokens: number of speech tokens.
        finish_reason: "eos", or "length" where a sentence was cut off at the length limit in every attempt; empty for a chunk
            that is followed by more of its sentence.
        rtf: real-time factor: computing time over duration, below 1 where it is faster than real time.
        ttfa_ms: time to first audio: milliseconds from the call to the first chunk.
        spans: which text is in which part of the samples; `mamtra.tts.TTS.words` makes times of words of it.
        repeats: runs of the LM that were repeated, as they left words out, said them twice or came to no end.
    """

    samples: np.ndarray
    sample_rate: int
    text: str
    seed: int
    voice: str
    tokens: int
    finish_reason: str
    rtf: float
    ttfa_ms: float
    repeats: int = 0
    spans: tuple[Span, ...] = field(default=(), repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """Duration of the samples."""
        return len(self.samples) / self.sample_rate

    @checked
    def save(self, path: str | os.PathLike, fmt: str | None = None) -> Path:
        """Write an audio file: wav, flac, opus, mp3, aac or pcm, by suffix or `fmt`. It is written whole or not at all.

        Raises:
            MamTraError: unknown format, or a place that cannot be written.
        """
        write_audio(path, self.samples, self.sample_rate, fmt)
        return Path(path)

    @checked
    def to_bytes(self, fmt: str = "wav") -> bytes:
        """The bytes of an audio file of format `fmt`."""
        return encode(self.samples, self.sample_rate, fmt)

    @classmethod
    @checked
    def joined(cls, chunks: Sequence[Audio]) -> Audio:
        """The chunks of one stream, concatenated.

        Raises:
            MamTraError: there are no chunks.
        """
        if not chunks:
            raise MamTraError("There is nothing to join: the text held no words.")
        first = chunks[0]
        samples = np.concatenate([chunk.samples for chunk in chunks])
        spent = sum(chunk.rtf * chunk.seconds for chunk in chunks)
        begins = accumulate((chunk.seconds for chunk in chunks), initial=0.0)
        parts = zip(chunks, begins, strict=False)
        spans = (span for chunk, begin in parts for span in moved(chunk.spans, begin))
        return cls(
            samples=samples,
            sample_rate=first.sample_rate,
            text=" ".join(chunk.text.strip() for chunk in chunks if chunk.text),
            seed=first.seed,
            voice=first.voice,
            tokens=sum(chunk.tokens for chunk in chunks),
            finish_reason="length"
            if any(chunk.finish_reason == "length" for chunk in chunks)
            else chunks[-1].finish_reason,
            rtf=spent * first.sample_rate / max(1, len(samples)),
            ttfa_ms=first.ttfa_ms,
            repeats=sum(chunk.repeats for chunk in chunks),
            spans=tuple(spans),
        )


def marked(chunks: Iterable[Audio], key: str) -> Iterator[Audio]:
    """The chunks of one stream with a watermark, see `mamtra.audio.watermark`."""
    offset = 0
    for chunk in chunks:
        yield replace(chunk, samples=mark(chunk.samples, chunk.sample_rate, offset, key))
        offset += len(chunk.samples)


def audio_of(request: Request, chunk: AudioChunk, ttfa_ms: float) -> Audio:
    """A chunk of a request as it is given to the caller.

    Args:
        request: that the chunk belongs to.
        chunk: samples, and how they came about.
        ttfa_ms: milliseconds from the call to the first chunk.
    """
    rate = request.model.sample_rate
    return Audio(
        samples=chunk.samples,
        sample_rate=rate,
        text=chunk.text,
        seed=request.seed,
        voice=request.voice.name,
        tokens=chunk.tokens,
        finish_reason=chunk.finish_reason,
        rtf=chunk.spent * rate / max(1, len(chunk.samples)),
        ttfa_ms=ttfa_ms,
        repeats=max(0, chunk.attempts - 1) if chunk.finish_reason else 0,
        spans=() if chunk.span is None else (chunk.span,),
    )
