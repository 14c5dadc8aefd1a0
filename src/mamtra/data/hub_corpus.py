"""Corpora that the `datasets` library loads."""

from __future__ import annotations

from typing import Any

import numpy as np

from mamtra.audio.io import decode_audio, read_audio
from mamtra.data.corpus_lists import TEXT
from mamtra.data.recordings import RATE, Item, Recordings, name_of, ordered, transcript_item
from mamtra.errors import MamTraError


class HubDataset(Recordings):
    """A data set that the `datasets` library loads, with columns "audio" and "text" (or "normalized_text", "sentence")."""

    def __init__(self, name: str, split: str) -> None:
        self._name, self._split, self._data = name, split, None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}  # each process opens it anew

    def items(self) -> list[Item]:
        """See `Recordings.items`."""
        data = self._open()
        columns = data.column_names
        text = next((name for name in TEXT if name in columns), None)
        if text is None or "audio" not in columns:
            raise MamTraError(
                f"The data set {self._name} needs the columns audio and text; it has {', '.join(columns)}."
            )
        others = {name: data[name] for name in (text, "speaker_id", "speaker", "id") if name in columns}
        speakers = others.get("speaker_id", others.get("speaker"))
        found = []
        for row in range(len(data)):
            name = (name_of(others["id"][row]) if "id" in others else "") or f"{row:09}"
            speaker = (name_of(speakers[row]) if speakers is not None else "") or "unknown"
            found.append(transcript_item(Item(name, str(row), "", speaker, self._name), others[text][row]))
        return ordered(found, self._name, files=False)

    def read(self, item: Item, max_seconds: float) -> np.ndarray:
        """See `Recordings.read`."""
        name, sound = f"Row {item.audio} of {self._name}", self._open()[int(item.audio)]["audio"] or {}
        if sound.get("bytes") is not None:
            return decode_audio(sound["bytes"], name, RATE, max_seconds=max_seconds)[0]
        if sound.get("path") is None:
            raise MamTraError(f"{name} has no sound.")
        return read_audio(sound["path"], RATE, max_seconds=max_seconds)[0]

    def _open(self) -> Any:
        if self._data is None:
            try:
                import datasets
            except ImportError as error:
                raise MamTraError("Data sets of Hugging Face need `pip install 'mamtra[train]'`.") from error
            try:
                data = datasets.load_dataset(self._name, split=self._split)
            except Exception as error:  # the library raises many classes
                raise MamTraError(f"The data set {self._name} ({self._split}) cannot be loaded: {error}.") from error
            self._data = data.cast_column("audio", datasets.Audio(decode=False))
        return self._data
