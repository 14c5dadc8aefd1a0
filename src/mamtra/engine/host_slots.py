"""Streams that are decoded one after another, each in a state of its own, with tokens drawn on the host.

On a CPU a step of one row with packed weights is faster than any other, and a row's numbers do not depend on the rest of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mamtra.engine.request import Inputs, Request, Sampling, Segment
from mamtra.engine.sampling import greedy, ras_sample, sample_all
from mamtra.engine.slots import FAILED, Begun, Fed
from mamtra.engine.state_pool import fingerprint
from mamtra.engine.steps import sequence_step
from mamtra.models.layout import SPEECH
from mamtra.models.speech_lm import SpeechLM
from mamtra.models.state import DecodeState


@dataclass(frozen=True)
class HostSnapshot:
    """See `mamtra.engine.slots.Snapshot`.

    Attributes:
        state: after the inputs.
        model: fingerprint of the model.
    """

    state: DecodeState
    model: str

    @property
    def length(self) -> int:
        """Inputs that it has taken in."""
        return self.state.length

    @property
    def bytes(self) -> int:
        """Memory of the state."""
        return self.state.bytes()


@dataclass
class _Stream:
    """A slot in use.

    Attributes:
        sampling: of its request.
        generator: of its random numbers.
        state: of the model; None before the first inputs are fed.
        inputs: fed by the next step.
        segment: whose rules hold.
        history: ids drawn.
    """

    sampling: Sampling
    generator: torch.Generator
    state: DecodeState | None
    inputs: Inputs = field(default_factory=list)
    segment: Segment | None = None
    history: list[int] = field(default_factory=list)


class HostSlots:
    """See `mamtra.engine.slots.Slots`. Memory of a stream is taken when its inputs are known.

    Args:
        lm: the model.
        silent_ids: see `mamtra.engine.engine.Engine`.
    """

    lag = 0
    together = 1
    settled = True
    restores = False

    def __init__(self, lm: SpeechLM, silent_ids: tuple[int, ...] = ()) -> None:
        self._lm, self._config, self._step = lm, lm.config, sequence_step(lm)
        self._silent = frozenset(silent_ids)
        self.model = f"host-{fingerprint(lm.config, lm.head_weight)}"
        self._streams: dict[int, _Stream] = {}

    def start(self, requests: Sequence[tuple[int, Request]]) -> None:
        """See `Slots.start`."""
        for slot, request in requests:
            state = None if request.prefix is None else request.prefix.state.clone()
            self._streams[slot] = _Stream(request.sampling, torch.Generator().manual_seed(request.seed), state)

    def feed(self, streams: Sequence[Fed]) -> None:
        """Note the inputs: all of a segment are fed at once, with its first draw."""
        for slot, _, inputs in streams:
            stream = self._streams[slot]
            if stream.segment is not None:  # what the last segment would have fed next
                stream.inputs, stream.segment = [], None
            stream.inputs += inputs

    def begin(self, streams: Sequence[Begun]) -> None:
        """See `Slots.begin`."""
        for slot, segment, _ in streams:
            self.feed([Fed(slot, 0, segment.inputs[-1:])])
            stream = self._streams[slot]
            stream.segment = segment
            draws = (segment.fill_at if segment.interleaved else segment.most) - len(stream.history)
            self._reserve(stream, len(stream.inputs) + max(1, draws))

    def step(self, slots: Sequence[int]) -> Callable[[], list[int]]:
        """See `Slots.step`."""
        found = [self._draw(self._streams[slot]) for slot in slots]
        return lambda: found

    def stop(self, slot: int) -> None:
        """See `Slots.stop`."""
        self._streams.pop(slot, None)

    def warm_up(self, inputs: int) -> None:
        """See `Slots.warm_up`; there are none."""

    def memory(self) -> tuple[int, int]:
        """See `Slots.memory`."""
        sizes = [state.sizes() for stream in list(self._streams.values()) if (state := stream.state) is not None]
        return sum(kv for kv, _ in sizes), sum(other for _, other in sizes)

    def snapshot(self, slot: int, inputs: Inputs) -> HostSnapshot:
        """See `Slots.snapshot`."""
        state = self._lm.init_state(1, len(inputs))
        self._feed(inputs, state)
        return HostSnapshot(state, self.model)

    def _reserve(self, stream: _Stream, count: int) -> None:
        """Make room for more positions."""
        if stream.state is None:
            stream.state = self._lm.init_state(1, count)
            return
        count += stream.state.length
        if count > stream.state.max_length:
            stream.state = stream.state.clone(max(count, 2 * stream.state.max_length))

    def _feed(self, inputs: Inputs, state: DecodeState) -> Tensor:
        """Logits (speech_vocab_size,) after the inputs."""
        lm = self._lm
        if len(inputs) == 1 and inputs[0][0] == SPEECH:
            return self._step(lm.speech_embedding.weight[inputs[0][1], None], state)[0]
        kind, ids = torch.tensor(inputs, device=lm.head_weight.device).T[:, None]
        return lm.logits(lm(lm.embed(kind, ids), state)[0, -1])

    def _draw(self, stream: _Stream) -> int:
        segment = stream.segment
        self._reserve(stream, len(stream.inputs))
        logits = self._feed(stream.inputs, stream.state)
        if not math.isfinite(float(logits.sum())):
            return FAILED
        if segment.interleaved and len(stream.history) == segment.fill_at:
            token = self._config.fill_id
        else:
            token = self._sample(stream, logits)
        stream.history.append(token)
        stream.inputs = [(SPEECH, token)]
        return token

    def _sample(self, stream: _Stream, logits: Tensor) -> int:
        """Draw an id that may come now."""
        segment, sampling, config = stream.segment, stream.sampling, self._config
        none = float("-inf")
        early, everything = len(stream.history) < segment.least, sampling.temperature is not None
        if segment.interleaved or early:
            logits[config.eos_id] = none
        if early and everything:
            logits[config.eos_id :] = none
        if segment.interleaved:
            spare = [i for i in range(config.eos_id + 1, config.speech_vocab_size) if i != config.fill_id]
            logits[spare] = none
        if barred := sampling.guards.barred(stream.history, self._silent):
            logits[barred] = none
        if sampling.greedy:
            return greedy(logits, stream.history)
        if everything:
            return sample_all(logits, sampling.temperature, stream.generator)
        return ras_sample(logits, stream.history, stream.generator, config=sampling.ras)
