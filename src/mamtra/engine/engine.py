"""The decode engine: many streams of speech tokens from one model, side by side, from any number of threads."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from dataclasses import replace

import torch

from mamtra.engine.batcher import Batcher
from mamtra.engine.device_slots import DeviceSlots
from mamtra.engine.host_slots import HostSlots
from mamtra.engine.prefixes import Prefixes
from mamtra.engine.request import Inputs, Request, TokenStream
from mamtra.engine.slots import Slots, Snapshot
from mamtra.engine.state_pool import stream_bytes
from mamtra.engine.stats import EngineStats
from mamtra.engine.turns import CLOSED, ClientTurns, WorkerTurns
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.decode_types import WeightType

MOST_STREAMS = 128


class Engine:
    """Takes requests and gives streams of tokens, all of which are decoded together.

    On a GPU one worker thread decodes them side by side, in memory that is taken at the start, so that a stream that has begun
    never runs out of it. Elsewhere the clients that wait for tokens decode, one row after another, and memory is taken as streams
    begin. A request's random numbers depend on its seed alone.

    Args:
        lm: the model, in evaluation mode, on its device. On a GPU its parameters become views of joint matrices; on a CPU they are
            copied.
        slots: streams side by side; further ones wait. None for as many as fit into a tenth of the GPU's free memory, up to
            `MOST_STREAMS`.
        capacity: positions of a stream, inputs and tokens together.
        deterministic: tokens of a request are the same to the bit whatever else is in the batch. On a GPU every step then takes as
            long as one of all slots. A CPU is deterministic unless this is False: then it decodes as a GPU does, with fewer
            operations for many short streams.
        most_waiting: streams that may wait for a slot.
        prefill_chunk: inputs that are fed between two steps on a GPU; more reach the first token sooner and hold up the others
            longer.
        silent_ids: speech tokens that are silence, for the guards of `mamtra.engine.request.Sampling`.
        ssm_dtype: of the state-space states; bfloat16 halves their memory.
        weights: "int8" or "fp8" puts the matrices of the layers into eight bits, in place, with slots of a GPU: half the memory and
            fewer bytes a step. The model cannot be trained or saved afterwards. None leaves them as they are.
        graphs: capture CUDA graphs on a GPU.

    Raises:
        MamTraError: the memory does not suffice; the sentence says how many streams fit.
    """

    def __init__(
        self,
        lm: SpeechLM,
        *,
        slots: int | None = 8,
        capacity: int = 2048,
        deterministic: bool | None = None,
        most_waiting: int = 4096,
        prefill_chunk: int = 512,
        silent_ids: tuple[int, ...] = (),
        ssm_dtype: torch.dtype = torch.float32,
        weights: WeightType | None = None,
        graphs: bool = True,
    ) -> None:
        device = lm.head_weight.device
        if slots is None:
            slots = _fitting(lm, capacity, ssm_dtype)
        if slots < 1 or capacity < 2:
            raise MamTraError("An engine needs at least one stream and two positions.")
        if silent_ids and not 0 <= min(silent_ids) <= max(silent_ids) < lm.config.speech_vocab_size:
            raise MamTraError(f"Tokens of silence are 0 to {lm.config.speech_vocab_size - 1} with this model.")
        held: Slots
        if device.type == "cuda" or (device.type == "cpu" and deterministic is False):
            held = DeviceSlots(
                lm, slots=slots, capacity=capacity, deterministic=bool(deterministic), silent_ids=silent_ids,
                ssm_dtype=ssm_dtype, graphs=graphs, weight_type=weights,
            )  # fmt: skip
        elif weights is not None:
            raise MamTraError("Weights in eight bits need a GPU; leave them out.")
        else:
            held = HostSlots(lm, silent_ids)
        self._batcher = Batcher(lm.config, held, slots, capacity, most_waiting, prefill_chunk, silent_ids)
        # beside the engine of hops: a step is short, and the next one waits for it
        self._turns = (
            WorkerTurns(self._batcher, device, first=True) if device.type == "cuda" else ClientTurns(self._batcher)
        )
        self._prefixes = Prefixes()
        self._lock = threading.Lock()
        self._closed = False
        self._end = weakref.finalize(self, self._turns.close)

    def submit(self, request: Request) -> TokenStream:
        """Start a request, or let it wait for a slot.

        Raises:
            MamTraError: it is longer than a slot, has ids that the model does not know, its snapshot is of another model, too many
                wait, or the engine is closed.
        """
        if request.prefix is None and self._batcher.held.restores:
            request = replace(request, prefix=self._prefixes.find(request.layout.shared(), self._try_snapshot))
        stream = TokenStream(request, self._turns)
        with self._lock:
            self._check_open()
            self._batcher.submit(stream)
        self._turns.wake()
        return stream

    def snapshot(self, inputs: Inputs) -> Snapshot:
        """The state behind some inputs, for `mamtra.engine.request.Request.prefix`.

        Raises:
            MamTraError: no slot is free, or the inputs are longer than one.
        """
        self._check_open()
        with self._turns.pause():
            return self._batcher.snapshot(inputs)

    def warm_up(self) -> None:
        """Capture the graphs of a GPU for every number of streams, so that no stream waits for one later."""
        self._check_open()
        with self._turns.pause():
            self._batcher.warm_up()

    def stats(self) -> EngineStats:
        """How many streams run and wait, and the memory of their states; asked for at any time, it waits for no step."""
        scheduler = self._batcher.scheduler
        counts = len(scheduler.running), len(scheduler.waiting)
        return EngineStats(*counts, *self._batcher.held.memory(), self._batcher.guarded)

    def _try_snapshot(self, inputs: Inputs) -> Snapshot | None:
        with suppress(MamTraError):  # the request itself is told what does not fit
            return self.snapshot(inputs)
        return None

    def close(self) -> None:
        """End all streams; may be called more than once."""
        with self._lock:
            self._closed = True
        self._end()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise MamTraError(CLOSED)


def _fitting(lm: SpeechLM, capacity: int, ssm_dtype: torch.dtype) -> int:
    weight = lm.head_weight
    if weight.device.type != "cuda":
        return MOST_STREAMS
    free = torch.cuda.mem_get_info(weight.device)[0] // 10
    return max(1, min(MOST_STREAMS, free // stream_bytes(lm.config, capacity, weight.dtype, ssm_dtype) - 1))
