"""Text that arrives in an event loop and is spoken in a thread, sentence by sentence as it was written."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mamtra.errors import MamTraError
from mamtra.synthesis.audio import Audio
from mamtra.synthesis.retries import segment_seed
from mamtra.text.incremental import sentences
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE, nothing_to_say

if TYPE_CHECKING:
    from mamtra.serve.speaker import Order
    from mamtra.tts import TTS

_FLUSH, _END = 0, 1


class TextFeed:
    """Parts of a text, in order. `push`, `flush` and `end` never wait; one thread reads.

    Args:
        parts: that are there already; a feed with `ended` gets no more.
        ended: whether these are all.
    """

    def __init__(self, parts: Iterable[str] = (), *, ended: bool = False) -> None:
        self._parts: queue.SimpleQueue[str | int] = queue.SimpleQueue()
        self._ended = False
        self.characters = 0
        for part in parts:
            self.push(part)
        if ended:
            self.end()

    def push(self, text: str) -> None:
        """More text, cut anywhere."""
        self.characters += len(text)
        self._parts.put(text)

    def flush(self) -> None:
        """What is here is to be spoken, whether a sentence ends with it or not."""
        self._parts.put(_FLUSH)

    def end(self) -> None:
        """There is no more text. May be called more than once."""
        self._parts.put(_END)

    def spans(self, aside: Callable[[], AbstractContextManager[None]]) -> Iterator[Iterator[str]]:
        """Parts up to a flush, then those up to the next one, until the end.

        Args:
            aside: entered while there is nothing to read.
        """
        while not self._ended:
            yield self._span(aside)

    def _span(self, aside: Callable[[], AbstractContextManager[None]]) -> Iterator[str]:
        while True:
            try:
                part = self._parts.get_nowait()
            except queue.Empty:
                with aside():
                    part = self._parts.get()
            if isinstance(part, str):
                yield part
                continue
            self._ended = part == _END
            return


def live_chunks(
    tts: TTS, feed: TextFeed, order: Order, aside: Callable[[], AbstractContextManager[None]]
) -> Iterator[Audio]:
    """Audio of arriving text. The first chunk of a sentence carries the sentence as it was written, the last one a reason.

    A model that reads while it speaks gets the text as it comes; its chunks carry the words that were read for them.

    Args:
        tts: the model.
        feed: the text.
        order: how to speak it.
        aside: see `TextFeed.spans`.

    Raises:
        MamTraError: none of the text can be spoken; nobody is told of a part that cannot.
    """
    options = {"instruct": order.instruct, "speed": order.speed, "flow_steps": order.flow_steps}
    count, unsaid = 0, ""
    for span in feed.spans(aside):
        if tts.interleaves:
            for part in span:
                if part.strip():
                    yield from tts.stream(
                        _with(part, span), order.voice, seed=segment_seed(order.seed, count), **options
                    )
                    count += 1
            continue
        for sentence in sentences(span):
            segments = _segments(tts, sentence)
            unsaid += sentence
            if not segments:
                continue
            if count:
                yield _silence(tts, order, PARAGRAPH_PAUSE if "\n\n" in sentence else SENTENCE_PAUSE)
            seed = segment_seed(order.seed, count)
            text, unsaid = unsaid, ""
            for chunk in tts.stream(sentence, order.voice, seed=seed, **options):
                segments -= bool(chunk.finish_reason)
                yield replace(chunk, text=text, finish_reason="" if segments > 0 else chunk.finish_reason)
                text = ""
            count += 1
    if not count and unsaid.strip():
        raise nothing_to_say()


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _segments(tts: TTS, sentence: str) -> int:
    """Number of runs that a sentence is spoken in; 0 where there is nothing to say."""
    if not sentence.strip():
        return 0
    try:
        return len(tts.model.text.segments(sentence))
    except MamTraError:
        return 0


def _silence(tts: TTS, order: Order, seconds: float) -> Audio:
    samples = np.zeros(round(seconds / order.speed * tts.sample_rate), np.float32)
    return Audio(samples, tts.sample_rate, "", order.seed, order.voice or "", 0, "", 0.0, 0.0)
