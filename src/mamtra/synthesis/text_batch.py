"""Many texts, each with options of its own, to one result a text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.synthesis.audio import Audio, audio_of
from mamtra.synthesis.pipeline import Request, check_text

if TYPE_CHECKING:
    from mamtra.synthesis.batch import Batch
    from mamtra.synthesis.model_directory import ModelDirectory
    from mamtra.voices.voice import Voice


@dataclass(frozen=True)
class Text:
    """A text of a batch with options of its own.

    Attributes:
        text: what to say.
        voice: as in `TTS.say`; that of the batch where None.
        seed: of the draws; that of the batch where None.
        speed: 0.5 (slow) to 2 (fast); that of the batch where None.
    """

    text: str
    voice: str | os.PathLike | Voice | None = None
    seed: int | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        for name, kind in (("text", str), ("seed", int | None), ("speed", int | float | None)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise MamTraError(f"Text: {name} cannot be {type(value).__name__}.")

    def filled(self, other: Text) -> Text:
        """With the options of another text where this one has none."""
        options = {name: getattr(other, name) for name in ("voice", "seed", "speed") if getattr(self, name) is None}
        return replace(self, **options)


def speak_each(
    model: ModelDirectory,
    batch: Batch,
    texts: Iterable[str | Text],
    defaults: Text,
    request_of: Callable[[Text], Request],
) -> Iterator[Audio | MamTraError]:
    """One result a text, in their order.

    Args:
        model: the model.
        batch: what they go through, of the model's runtime.
        texts: what to say; read as they are needed.
        defaults: options of texts that have none.
        request_of: the request of a text that has all options; raises `MamTraError` for one that cannot be spoken.
    """
    try:
        began = time.perf_counter()
        for given in chain(texts, [None]):
            if given is not None:
                try:
                    text = (given if isinstance(given, Text) else Text(given)).filled(defaults)
                    request = request_of(text)
                    batch.add(request, model.text.segments(check_text(text.text)))
                except MamTraError as error:
                    batch.refuse(error)
            for request, found in batch.finished(last=given is None):
                spent, began = time.perf_counter() - began, time.perf_counter()
                try:
                    if isinstance(found, MamTraError):
                        raise found
                    shares = [replace(chunk, spent=spent / len(found)) for chunk in found]
                    yield Audio.joined([audio_of(request, chunk, 1000 * spent) for chunk in shares])
                except MamTraError as error:
                    yield error
    finally:
        batch.cancel()
