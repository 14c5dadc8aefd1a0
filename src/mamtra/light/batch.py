"""Many texts at once for a `LightModel`: their segments decoded side by side, each text as if it were spoken alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from mamtra.errors import MamTraError
from mamtra.light.decoder import ROWS, Decoder
from mamtra.light.model import LightModel
from mamtra.light.speaking import Prompts, decoded_segment
from mamtra.synthesis.pipeline import AudioChunk, Backend, Request, speak
from mamtra.text.split import Segment

Spoken = list[AudioChunk] | MamTraError


class Batch:
    """What `mamtra.synthesis.batch.Batch` offers.

    Args:
        model: to speak with; flow and vocoder compute as many texts at a time as it has threads.
        prompts: of its voices.
    """

    def __init__(self, model: LightModel, prompts: Prompts) -> None:
        self._ahead, self._prompts, self._decoder = max(model.threads, ROWS), prompts, Decoder()
        self._pool = ThreadPoolExecutor(model.threads, thread_name_prefix="mamtra-batch")
        self._texts: deque[tuple[Request | None, Future[Spoken]]] = deque()

    def add(self, request: Request, segments: Sequence[Segment]) -> None:
        """Take in a text."""
        runs = {i: self._decoder.submit(request, list(segment.ids), i) for i, segment in enumerate(segments)}
        backend = partial(decoded_segment, runs=runs, prompts=self._prompts)
        self._texts.append((request, self._pool.submit(_speak, request, segments, backend)))

    def refuse(self, error: MamTraError) -> None:
        """Take in a text that cannot be spoken, so that its error comes in its place."""
        refused: Future[Spoken] = Future()
        refused.set_result(error)
        self._texts.append((None, refused))

    def finished(self, *, last: bool = False) -> Iterator[tuple[Request | None, Spoken]]:
        """Texts whose turn has come, each with its audio, or why there is none.

        Args:
            last: no more texts will be added: all of them.
        """
        while self._texts and (last or len(self._texts) > self._ahead or self._texts[0][1].done()):
            request, spoken = self._texts[0]
            found = spoken.result()
            self._texts.popleft()
            yield request, found

    def cancel(self) -> None:
        """End what is on its way, once the sentences that flow and vocoder have begun are complete."""
        self._decoder.close()
        for _, spoken in self._texts:
            spoken.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _speak(request: Request, segments: Sequence[Segment], backend: Backend) -> Spoken:
    try:
        return list(speak(request, segments, backend))
    except MamTraError as error:
        return error
