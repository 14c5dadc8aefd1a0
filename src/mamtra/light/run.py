"""Speech tokens of one request, as they are drawn: the rules of `mamtra.engine.reference` over a `mamtra.light.lm.LightLM`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.request import FinishReason, Inputs, Layout, Segment
from mamtra.light.lm import LightLM, LMState
from mamtra.light.random import Generator
from mamtra.light.sampler import bar, ras_sample
from mamtra.models.kinds import SPEECH, TEXT

_ROOM = 256
"""Positions of the state at the start where their number is unknown; it grows when they are used up."""
_TABLES = {TEXT: "text", SPEECH: "speech"}


class LightRun(Iterator[int]):
    """A running generation.

    Args:
        lm: the model.
        layout: of the inputs; asked for more where tokens need them, which may block.
        generator: of the sampler.
        settings: of the sampler and its guards.
        text: positions of the text from and to before which, for `attention`.

    Attributes:
        tokens: all tokens so far.
        finish_reason: ``eos``, ``length``, ``cancelled``, or None while tokens are still to come.
    """

    def __init__(
        self,
        lm: LightLM,
        layout: Layout,
        generator: Generator,
        settings: GenerationConfig,
        text: tuple[int, int] = (0, 0),
    ) -> None:
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._lm, self._layout, self._generator, self._settings, self._text = lm, layout, generator, settings, text
        self._state: LMState | None = None
        self._history: list[int] = []
        self._segment: Segment | None = None
        self._inputs: Inputs = []

    def __next__(self) -> int:
        config = self._lm.config
        while self.finish_reason is None:
            if self._segment is None:
                self._segment = self._next_segment()
                self._inputs = self._segment.inputs
            if 0 <= self._segment.most <= len(self._history):
                self.finish_reason = "length"
                break
            drawn = self._draw(self._feed(self._segment), self._segment)
            if drawn >= config["eos_id"] and not self._segment.interleaved:
                self.finish_reason = "eos"
                break
            self._history.append(drawn)
            if drawn == config["fill_id"]:
                self._segment = None
            else:
                self._layout.drawn(drawn)
                self._inputs = [(SPEECH, drawn)]
                self.tokens.append(drawn)
                return drawn
        raise StopIteration

    def attention(self) -> np.ndarray | None:
        """Attention (tokens, text ids) of the head that follows the text, see `mamtra.synthesis.coverage`.

        None where the model has no such head, or the text is still arriving.
        """
        if self._lm.head is None or not self.tokens or self._text[0] == self._text[1]:
            return None
        return self._state.attention(*self._text)[: len(self.tokens)]

    def expect(self, count: int) -> None:
        """Does nothing: tokens are drawn as they are taken."""

    def cancel(self) -> None:
        """End the run."""
        self.finish_reason = self.finish_reason or "cancelled"

    def _next_segment(self) -> Segment:
        while (segment := self._layout.take(len(self._history))) is None:
            self._layout.pull()
        return segment

    def _feed(self, segment: Segment) -> np.ndarray:
        """Logits (ids,) after the inputs."""
        if self._state is None:
            self._state = LMState(self._lm, len(self._inputs) + segment.most if segment.most >= 0 else _ROOM)
        self._state = self._state.with_room(len(self._inputs))
        rows = [
            self._lm.embed(_TABLES.get(kind, "marks"), [number for _, number in inputs])
            for kind, inputs in groupby(self._inputs, itemgetter(0))
        ]
        return self._state.extend(np.concatenate(rows))

    def _draw(self, logits: np.ndarray, segment: Segment) -> int:
        end, fill = self._lm.config["eos_id"], self._lm.config["fill_id"]
        if len(self._history) == segment.fill_at:
            return fill
        if segment.interleaved or len(self._history) < segment.least:
            logits[end] = -np.inf
        self._lm.guarded += bar(logits, self._history, self._settings)
        drawn = ras_sample(logits, self._history, self._generator, self._settings)
        while segment.interleaved and drawn > end and drawn != fill:
            logits[drawn] = -np.inf  # a spare id, on which the original stops with an error
            drawn = ras_sample(logits, self._history, self._generator, self._settings)
        return drawn
