"""Speech tokens of one request, as they are drawn: the rules of `mamtra.engine.reference` over a `mamtra.light.lm.LightLM`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import FinishReason, Inputs, Layout, Segment, Unistream
from mamtra.light.lm import LightLM
from mamtra.light.lm_state import LMState
from mamtra.light.random import Generator
from mamtra.light.sampler import bar, ras_sample
from mamtra.models.kinds import MIX, SPEECH, TEXT
from mamtra.synthesis.pipeline import Request

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
        text: positions of the text from and to before which, for `attention`; what stands before it is the same for a voice.

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
        while (inputs := self.wanted()) is not None:
            if (token := self.take(self.state(len(inputs)).extend(inputs))) is not None:
                return token
        raise StopIteration

    def wanted(self) -> np.ndarray | None:
        """Inputs (n, hidden_size) that the LM is to take in next, None where the run has ended."""
        if self._segment is None and self.finish_reason is None:
            self._segment = self._next_segment()
            self._inputs = self._segment.inputs
        if self.finish_reason is None and 0 <= self._segment.most <= len(self._history):
            self.finish_reason = "length"
        if self.finish_reason is not None:
            return None
        begin = self._text[0]
        if self._state is None and begin:
            capacity = len(self._inputs) + self._segment.most
            self._state = self._lm.beginnings.state(self._embedded(self._inputs[:begin]), capacity)
            self._inputs = self._inputs[begin:]
        return self._embedded(self._inputs)

    def take(self, logits: np.ndarray) -> int | None:
        """Draw what follows the inputs from its logits (ids,), in place: a speech token, or None for a mark or the end."""
        drawn = self._draw(logits, self._segment)
        if drawn >= self._lm.config["eos_id"] and not self._segment.interleaved:
            self.finish_reason = "eos"
            return None
        self._history.append(drawn)
        if drawn == self._lm.config["fill_id"]:
            self._segment = None
            return None
        self._layout.drawn(drawn)
        self._inputs = [(SPEECH, drawn)]
        self.tokens.append(drawn)
        return drawn

    def state(self, more: int = 0) -> LMState:
        """Its state, with room for so many more positions."""
        if self._state is None:
            most = self._segment.most
            self._state = LMState(self._lm, more + most if most >= 0 else _ROOM)
        return self._state.with_room(more)

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

    def _embedded(self, inputs: Inputs) -> np.ndarray:
        rows = [
            self._lm.embed(_TABLES.get(kind, "marks"), [number for _, number in alike])
            for kind, alike in groupby(inputs, itemgetter(0))
        ]
        return np.concatenate(rows)

    def _next_segment(self) -> Segment:
        while (segment := self._layout.take(len(self._history))) is None:
            self._layout.pull()
        return segment

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


def start_run(request: Request, text_ids: Iterable[int], seed: int) -> LightRun:
    """One run of the LM, to be iterated over; of text ids in a list, or of those that are still arriving."""
    model = request.model
    prompt, speech = (part.tolist() for part in request.voice.lm_prompt)
    run = partial(LightRun, model.lm, generator=Generator(seed), settings=model.generation)
    if not isinstance(text_ids, list):
        mix = tuple(model.config["lm"].get("mix_ratio", MIX))
        return run(Interleaved(prompt, speech, lengths=model.generation, text_ids=text_ids, mix=mix))
    begin = 1 + len(prompt)
    layout = Unistream(text_ids, prompt, speech, lengths=model.generation)
    return run(layout, text=(begin, begin + len(text_ids)))
