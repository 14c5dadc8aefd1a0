"""A segment chunk by chunk, on either runtime: the tokens of a run of the LM go into flow and vocoder while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Protocol

from mamtra.synthesis.coverage import Coverage
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples
from mamtra.synthesis.retries import TokenRun, without_long_silence


class Run(Protocol):
    """A run of the LM: `mamtra.engine.request.TokenStream`, `mamtra.light.run.LightRun`."""

    finish_reason: Any

    def __iter__(self) -> Iterator[int]:
        """Its tokens."""

    def expect(self, count: int) -> None:
        """Tell that it is of no use to be given fewer than so many further tokens."""

    def cancel(self) -> None:
        """End it."""


class HopStream:
    """Speech tokens of one segment to samples, hop by hop: three streams, of which each takes what the one before returns.

    Args:
        flow: speech tokens to mel; has ``wanted``.
        stretch: mel to mel at another speed.
        vocoder: mel to samples.
        schedule: lengths of the hops; `HopSchedule()` by default.
    """

    def __init__(self, flow: Any, stretch: Any, vocoder: Any, schedule: HopSchedule | None = None) -> None:
        self._flow, self._stretch, self._vocoder = flow, stretch, vocoder
        self._schedule, self._hops = schedule or HopSchedule(), 0

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return self._flow.wanted(self._schedule.least(self._hops))

    def push(self, tokens: Any, final: bool = False) -> Any:
        """Add tokens and get the samples that no later token can change, perhaps none; both as the streams have them."""
        self._hops += 1
        return self._vocoder.push(self._stretch.push(self._flow.push(tokens, final), final), final)

    def close(self) -> None:
        """End the stream, which holds nothing elsewhere."""


def stream_runs(
    request: Request,
    index: int,
    *,
    start: Callable[[int], Run],
    sound: Callable[[int], Any],
    cover: Callable[[Run, list[int], int, bool], Coverage],
    follow: bool = False,
) -> Iterator[AudioChunk]:
    """Audio of a segment while its tokens are being generated.

    A run of the LM that gives no speech, is cut off, or leaves words out or says them twice, is repeated only as long as no audio
    of it was given; so one that is too short is not, unless all of it is its first audio.

    Args:
        request: of the segment.
        index: its place.
        start: the run of an attempt.
        sound: a `HopStream` or the like, which is closed, with the same seed, of lists of tokens and samples (T,).
        cover: what a run made of its text, of its tokens so far, its attempt, and whether they are all.
        follow: ask for it at every chunk, as it costs next to nothing; otherwise as long as a run may be repeated.

    Yields:
        Chunks, of which only the last one tells why the tokens ended.
    """
    for attempt in range(request.retries.attempts):
        seed = request.seed_of(index, attempt)
        run = start(attempt)
        drawn, waiting = list[int](), list[int]()
        given, pending = False, 0  # whether audio was given, and the number of tokens without audio yet
        last, lost = attempt + 1 == request.retries.attempts, False
        # Nobody listens any more, the flow or the text has failed, words were left out, or all was said.
        with ExitStack() as ends:
            ends.callback(run.cancel)
            stream = ends.enter_context(closing(sound(seed)))
            wanted = stream.wanted
            run.expect(wanted)
            for token in without_long_silence(run, request.model.generation):
                drawn.append(token)
                waiting.append(token)
                if len(waiting) < wanted:
                    continue
                found = cover(run, drawn, attempt, False) if follow or not (given or last) else Coverage()
                lost = not (given or last) and found.misread > 0
                if lost:
                    break
                samples = stream.push(waiting)
                pending += len(waiting)
                waiting, wanted = [], stream.wanted
                run.expect(wanted)
                if len(samples):
                    yield AudioChunk(
                        samples, pending, "", attempt + 1, read=in_samples(found.read, request.token_samples)
                    )
                    given, pending = True, 0
            if lost:
                continue
            reason = str(run.finish_reason)
            found = cover(run, drawn, attempt, True) if follow or not (given or last) else Coverage()
            if given or request.retries.accepts(TokenRun(drawn, reason, attempt, 0.0 if last else found.misread)):
                samples, pending = stream.push(waiting, final=True), pending + len(waiting)
                yield AudioChunk(
                    samples, pending, reason, attempt + 1, read=in_samples(found.read, request.token_samples)
                )
                return
    request.retries.give_up()
