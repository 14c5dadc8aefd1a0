"""Speech tokens of text that is still arriving: CosyVoice 2's bistream over a `mamtra.light.lm.LightLM`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Inputs, Segment
from mamtra.light.lm import LightLM, LMState
from mamtra.light.random import Generator
from mamtra.light.sampler import ras_sample
from mamtra.models.kinds import SPEECH, TEXT
from mamtra.models.sampling_config import RASConfig

_ROOM = 256
"""Positions of the state at the start; it grows when they are used up."""


class LightBistream(Iterator[int]):
    """A running generation; the rules are those of `mamtra.engine.reference.generate_bistream`.

    Args:
        lm: the model.
        layout: of the inputs, over ids that are still arriving; asked for more when tokens need them, which may block.
        generator: of the sampler.
        settings: of the sampler.

    Attributes:
        tokens: all tokens so far.
        finish_reason: ``eos``, ``length``, or None while tokens are still to come.
    """

    def __init__(self, lm: LightLM, layout: Interleaved, generator: Generator, settings: RASConfig) -> None:
        self.tokens: list[int] = []
        self.finish_reason: str | None = None
        self._lm, self._layout, self._generator, self._settings = lm, layout, generator, settings
        self._state, self._history = LMState(lm, _ROOM), list[int]()
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
            drawn = self._draw(self._feed(), self._segment)
            self._history.append(drawn)
            if drawn == config["fill_id"] and self._segment.interleaved:
                self._segment = None
            elif drawn >= config["eos_id"]:
                self.finish_reason = "eos"
            else:
                self._layout.drawn(drawn)
                self._inputs = [(SPEECH, drawn)]
                self.tokens.append(drawn)
                return drawn
        raise StopIteration

    def misread(self, *, ended: bool = True) -> float:
        """0: runs of arriving text are not checked."""
        return 0.0

    def _next_segment(self) -> Segment:
        while (segment := self._layout.take(len(self._history))) is None:
            self._layout.pull()
        return segment

    def _feed(self) -> np.ndarray:
        """Logits (ids,) after the inputs."""
        self._state = self._state.with_room(len(self._inputs))
        tables = {TEXT: "text", SPEECH: "speech"}
        rows = [self._lm.embed(tables.get(kind, "marks"), [number]) for kind, number in self._inputs]
        return self._state.extend(np.concatenate(rows))

    def _draw(self, logits: np.ndarray, segment: Segment) -> int:
        end, fill = self._lm.config["eos_id"], self._lm.config["fill_id"]
        if not segment.interleaved:
            return ras_sample(logits, self._history, self._generator, self._settings)
        if len(self._history) == segment.fill_at:
            return fill
        logits[end] = -np.inf
        while (drawn := ras_sample(logits, self._history, self._generator, self._settings)) > end and drawn != fill:
            logits[drawn] = -np.inf  # a spare id, on which the original stops with an error
        return drawn
