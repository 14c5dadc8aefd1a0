"""A corpus of recordings with transcripts, whatever its form on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError
from mamtra.runtime.files import hash_files, is_file
from mamtra.runtime.printable import printable
from mamtra.runtime.text_files import read_text

RATE = 16000
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".webm")
"""Suffixes of the recordings in a folder; the first that is there is taken."""


class Item(NamedTuple):
    """One recording.

    Attributes:
        id: unique in the corpus.
        audio: path of the audio file, or number of the row in a dataset.
        text: transcript.
        speaker: name.
        source: subset or data set.
        problem: why it cannot be used, as far as the corpus shows without decoding; such an item is counted and skipped.
        detail: the problem with the name of the file.
    """

    id: str
    audio: str
    text: str
    speaker: str
    source: str
    problem: str = ""
    detail: str = ""


class Recordings(ABC):
    """A corpus of recordings, in an order that does not depend on the machine."""

    @abstractmethod
    def items(self) -> list[Item]:
        """All recordings, by id, with those that cannot be used.

        Raises:
            MamTraError: there are none, or a file that lists many is damaged.
        """

    def read(self, item: Item, max_seconds: float) -> np.ndarray:
        """Its samples: (T,) float32 at 16 kHz.

        Raises:
            MamTraError: it cannot be read, or is longer than `max_seconds`.
        """
        return read_audio(item.audio, RATE, max_seconds=max_seconds)[0]


def transcript_item(item: Item, text: object) -> Item:
    """The item with a transcript from elsewhere; a problem where that is no text."""
    if text is None:
        return item._replace(problem="no transcript")
    if not isinstance(text, str):
        shown = printable(repr(text))
        return item._replace(problem="unreadable text", detail=f"The transcript of {item.id} is {shown}, not text.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        return item._replace(problem="unreadable text", detail=f"The transcript of {item.id} holds half a character.")
    return item._replace(text=text)


def name_of(value: object) -> str:
    """An id or a speaker, which may be a number, as text; "" for what is neither."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def file_item(item: Item, transcript: Path) -> Item:
    """The item with the contents of a transcript file; a problem where that cannot be read."""
    try:
        return transcript_item(item, read_text(transcript).strip())
    except MamTraError as error:
        return item._replace(problem="unreadable text", detail=str(error))


def ordered(items: Iterable[Item], where: object, *, files: bool = True) -> list[Item]:
    """Items by id; where they are files, those with the content of an earlier one are marked.

    Raises:
        MamTraError: no item has a transcript, or two have the same id.
    """
    found = sorted(items)
    for one, other in pairwise(found):
        if one.id == other.id:
            raise MamTraError(f"{where} has two recordings with the id {printable(one.id)}; give each its own.")
    if all(item.problem in ("no transcript", "unreadable text") for item in found):
        first = next((f"; the first: {item.detail}" for item in found if item.detail), ".")
        raise MamTraError(f"{where} holds no recordings with transcripts{first}")
    return _mark_repeated(found) if files else found


def _mark_repeated(items: list[Item]) -> list[Item]:
    sizes = [_size(item) for item in items]
    often, first_of, found = Counter(sizes), {}, []
    for item, size in zip(items, sizes, strict=True):
        if size is not None and often[size] > 1:  # only files of equal size are worth reading
            try:
                first = first_of.setdefault(hash_files(item.audio), item.id)
            except OSError:  # reading it will say why
                first = item.id
            if first != item.id:
                detail = f"{item.id} is the recording of {first}."
                item = item._replace(problem="same recording as another", detail=detail)
        found.append(item)
    return found


def _size(item: Item) -> int | None:
    return Path(item.audio).stat().st_size if not item.problem and is_file(item.audio) else None
