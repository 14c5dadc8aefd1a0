"""Flow and vocoder as CUDA graphs: the estimator's Euler step, in one pass and in streams, and the vocoder's two networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.acoustic.estimator import Estimator
from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.static_cache import RoomPlan, StepRoom, lay_out, room_mask, take_out
from mamtra.acoustic.stream_cache import Past
from mamtra.runtime.cuda_graphs import Recorder

KEYS = 128
"""Rooms hold a multiple of so many keys: pasts of nearly one length share one, and masks lie as kernels want them."""


class GraphedEstimator:
    """Calls an estimator through a recorder, with the arguments and results of `Estimator.forward`.

    Args:
        estimator: whose weights stay where they are as long as this is used.
        recorder: of its own, since it forgets when its room grows.
    """

    def __init__(self, estimator: Estimator, recorder: Recorder) -> None:
        self._plain, self._plan, self._recorder = estimator.forward, RoomPlan(estimator), recorder
        self._memory: Tensor | None = None
        self._mask: tuple[tuple, Tensor] | None = None

    def __call__(
        self,
        x: Tensor,
        valid: Tensor | None,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        chunk: int = 0,
        past: Past | None = None,
        seen: int = 0,
    ) -> Tensor:
        """See `Estimator.forward`."""
        if past is not None:
            return self._go_on(x, mu, t, spks, cond, chunk, past, seen)

        def run(x: Tensor, mu: Tensor, t: Tensor, spks: Tensor, cond: Tensor, *valid: Tensor) -> tuple[Tensor]:
            return (self._plain(x, valid[0] if valid else None, mu, t, spks, cond, chunk),)

        return self._recorder(("pass", chunk), run, [x, mu, t, spks, cond, *([] if valid is None else [valid])])[0]

    def _go_on(
        self, x: Tensor, mu: Tensor, t: Tensor, spks: Tensor, cond: Tensor, chunk: int, past: Past, seen: int
    ) -> Tensor:
        """A step of a stream. Whole chunks are computed, so that the last hop of an utterance is of a known kind too."""
        frames = x.shape[2]
        size = -(-frames // chunk) * chunk
        room = -(-(size + seen) // KEYS) * KEYS
        if size > frames:
            x, mu, cond = (F.pad(value, (0, size - frames)) for value in (x, mu, cond))
        with self._recorder.lock:
            keys = self._room(len(x), room, x)
            pieces = past.remembered(self, "keys")
            inputs = past.remembered(self, "inputs") or (x.new_zeros(len(x), self._plan.before, self._plan.channels),)
            lay_out(keys, size, pieces)
            mask = self._mask_of(frames, size, seen, room, chunk, x)
            given = [x, mu, t, spks, cond, mask, *inputs]
            slope, after = self._recorder(("step", room), partial(self._step, keys), given)
            # Nothing follows what is no whole chunk.
            if size == frames:
                past.remember(self, "keys", (*pieces, take_out(keys, size)))
                past.remember(self, "inputs", (after,))
        return slope[:, :, :frames]

    def _step(
        self, keys: Tensor, x: Tensor, mu: Tensor, t: Tensor, spks: Tensor, cond: Tensor, mask: Tensor, inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        room = StepRoom(self._plan, keys, mask, inputs)
        return self._plain(x, None, mu, t, spks, cond, past=room), room.after

    def _room(self, batch: int, room: int, like: Tensor) -> Tensor:
        """Room (places, batch, room, width) in the one memory that all steps take turns in; it grows by doubling."""
        shape = (self._plan.places, batch, room, self._plan.width)
        count, memory = torch.Size(shape).numel(), self._memory
        if memory is None or memory.dtype != like.dtype or len(memory) < count:
            self._memory = memory = None
            self._recorder.forget()
            doubled = 1 << (room // KEYS - 1).bit_length()
            with torch.inference_mode(False):
                self._memory = memory = like.new_empty(count // room * KEYS * doubled)
        return memory[:count].view(shape)

    def _mask_of(self, frames: int, size: int, seen: int, room: int, chunk: int, like: Tensor) -> Tensor:
        """`room_mask`, made once for all steps of a hop."""
        key = (frames, size, seen, room, chunk, like.device, like.dtype)
        if self._mask is None or self._mask[0] != key:
            self._mask = (key, room_mask(*key[:5], like))
        return self._mask[1]


def use_graphs(flow: Flow, vocoder: HiFT, kind: Callable[[], Recorder] = Recorder) -> None:
    """Let inference of both networks run as CUDA graphs, for good; weights and their names stay. Twice is once.

    Args:
        flow: on a CUDA device, in evaluation mode; trains as before.
        vocoder: likewise.
        kind: makes recorders.
    """
    estimator = flow.decoder.estimator
    if isinstance(estimator.forward, GraphedEstimator):
        return
    estimator.forward = GraphedEstimator(estimator, kind())
    recorder = kind()
    for name in ("predict_f0", "decode"):
        setattr(vocoder, name, partial(_call, recorder, name, getattr(vocoder, name)))


def _call(recorder: Recorder, name: str, function: Callable[..., Tensor], *given: Tensor | None) -> Tensor:
    """A function of tensors, of which the last may be None, through a recorder."""

    def run(*tensors: Tensor) -> tuple[Tensor]:
        return (function(*tensors),)

    return recorder(name, run, [tensor for tensor in given if tensor is not None])[0]
