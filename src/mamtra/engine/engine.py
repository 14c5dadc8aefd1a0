"""The decode engine: many streams of speech tokens from one model, side by side, from any number of threads."""

from __future__ import annotations

import threading

import torch

from mamtra.engine.batcher import Batcher
from mamtra.engine.request import Inputs, Request, TokenStream
from mamtra.engine.state_pool import Snapshot
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM


class Engine:
    """Takes requests and gives streams of tokens; one worker thread decodes all of them together.

    Memory for all streams is taken at the start, so that a stream that has begun never runs out of it. A request's random numbers
    depend on its seed alone.

    Args:
        lm: the model, in evaluation mode, on its device. Its parameters become views of joint matrices.
        slots: streams side by side; further ones wait.
        capacity: positions of a stream, inputs and tokens together.
        deterministic: tokens of a request are the same to the bit whatever else is in the batch. On a GPU every step then takes as
            long as one of all slots, on a CPU rows are computed one after another.
        most_waiting: streams that may wait for a slot.
        prefill_chunk: inputs that are fed between two steps; more reach the first token sooner and hold up the others longer.
        silent_ids: speech tokens that are silence, for `mamtra.engine.request.Sampling.most_silence`.
        ssm_dtype: of the state-space states; bfloat16 halves their memory.
        graphs: capture CUDA graphs on a GPU.

    Raises:
        MamTraError: the memory does not suffice; the sentence says how many streams fit.
    """

    def __init__(
        self,
        lm: SpeechLM,
        *,
        slots: int = 8,
        capacity: int = 2048,
        deterministic: bool = False,
        most_waiting: int = 4096,
        prefill_chunk: int = 512,
        silent_ids: tuple[int, ...] = (),
        ssm_dtype: torch.dtype = torch.float32,
        graphs: bool = True,
    ) -> None:
        self._batcher = Batcher(
            lm, slots=slots, capacity=capacity, deterministic=deterministic, most_waiting=most_waiting,
            prefill_chunk=prefill_chunk, silent_ids=silent_ids, ssm_dtype=ssm_dtype, graphs=graphs,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="mamtra-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> TokenStream:
        """Start a request, or let it wait for a slot.

        Raises:
            MamTraError: it is longer than a slot, its snapshot is of another model, too many wait, or the engine is closed.
        """
        with self._lock:
            self._check_open()
            stream = self._batcher.submit(request, self._work.set)
        self._work.set()
        return stream

    def snapshot(self, inputs: Inputs) -> Snapshot:
        """The state behind some inputs, for `mamtra.engine.request.Request.prefix`.

        Raises:
            MamTraError: no slot is free, or the inputs are longer than one.
        """
        with self._lock:
            self._check_open()
            return self._batcher.snapshot(inputs)

    def close(self) -> None:
        """End all streams and the worker; may be called more than once."""
        with self._lock:
            self._closed = True
        self._work.set()
        self._thread.join()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise MamTraError("This engine is closed.")

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            busy = True
            while busy:
                with self._lock:
                    if self._closed:
                        self._batcher.fail("The engine was closed.")
                        return
                    try:
                        busy = self._batcher.turn()
                    except Exception as error:  # nobody else sees what a worker thread raises
                        self._batcher.fail(f"The engine failed: {error}")
                        busy = False
