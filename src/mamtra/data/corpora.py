"""Recordings with transcripts: LibriTTS and LibriSpeech trees, JSON lines, Hugging Face datasets."""

from __future__ import annotations

import io
import json
import os
from abc import ABC, abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from mamtra.audio.io import read_audio, resample
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_regular

RATE = 16000
HUB = "hf:"
"""Prefix of the name of a Hugging Face data set."""
_AUDIO_KEYS = ("audio", "audio_filepath")


class Item(NamedTuple):
    """One recording.

    Attributes:
        id: unique in the corpus.
        audio: path of the audio file, or number of the row in a dataset.
        text: transcript.
        speaker: name.
        source: subset or data set.
    """

    id: str
    audio: str
    text: str
    speaker: str
    source: str


class Recordings(ABC):
    """A corpus of recordings, in an order that does not depend on the machine."""

    @abstractmethod
    def items(self) -> list[Item]:
        """All recordings, by id.

        Raises:
            MamTraError: there are none, or the transcripts are damaged.
        """

    def read(self, item: Item) -> np.ndarray:
        """Its samples: (T,) float32 at 16 kHz.

        Raises:
            MamTraError: it cannot be read.
        """
        return read_audio(item.audio, RATE)[0]


def open_recordings(place: str) -> Recordings:
    """Open a corpus by its form.

    Args:
        place: a folder with the layout of LibriTTS or LibriSpeech, a .jsonl file, or ``hf:NAME[:SPLIT]``.

    Raises:
        MamTraError: it is none of these.
    """
    if place.startswith(HUB):
        name, _, split = place.removeprefix(HUB).partition(":")
        return HubDataset(name, split or "train")
    path = Path(place)
    if path.is_file() and path.suffix == ".jsonl":
        return JsonLines(path)
    if path.is_file():
        raise MamTraError(
            f'{place} is no corpus; files are .jsonl with {{"audio": path, "text": words}} a line, or .npz.'
        )
    if not path.is_dir():
        raise MamTraError(
            f"There is no corpus {place}; give a LibriTTS or LibriSpeech folder, a .jsonl file, or hf:NAME."
        )
    if next(path.rglob("*.trans.txt"), None) is not None:
        return LibriSpeech(path)
    if next(path.rglob("*.normalized.txt"), None) is not None:
        return LibriTTS(path)
    raise MamTraError(
        f"{place} holds neither *.normalized.txt (LibriTTS) nor *.trans.txt (LibriSpeech); give its root folder or a .jsonl "
        'file of {"audio": path, "text": words}.'
    )


class LibriTTS(Recordings):
    """``SUBSET/SPEAKER/CHAPTER/SPEAKER_CHAPTER_P_U.wav`` with ``.normalized.txt`` beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def items(self) -> list[Item]:
        """See `Recordings.items`."""
        found = []
        for transcript in self._root.rglob("*.normalized.txt"):
            name = transcript.name.removesuffix(".normalized.txt")
            found.append(
                Item(
                    name,
                    str(transcript.with_name(f"{name}.wav")),
                    _read_text(transcript).strip(),
                    name.split("_")[0],
                    _subset(self._root, transcript),
                )
            )
        return _sorted(found, self._root)


class LibriSpeech(Recordings):
    """``SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UUUU.flac``, and ``SPEAKER-CHAPTER.trans.txt`` with a line for each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def items(self) -> list[Item]:
        """See `Recordings.items`."""
        found = []
        for transcripts in self._root.rglob("*.trans.txt"):
            for line in _read_text(transcripts).splitlines():
                name, _, text = line.strip().partition(" ")
                if name:
                    place = str(transcripts.with_name(f"{name}.flac"))
                    # in capitals every word would be read as an abbreviation
                    found.append(Item(name, place, text.lower(), name.split("-")[0], _subset(self._root, transcripts)))
        return _sorted(found, self._root)


class JsonLines(Recordings):
    """``{"audio": path, "text": words}`` a line, with "id", "speaker" and "source" where known; paths are relative to the
    file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> list[Item]:
        """See `Recordings.items`."""
        found = []
        for number, line in enumerate(_read_text(self._path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                content: dict[str, Any] = json.loads(line)
                audio = str(next(content[key] for key in _AUDIO_KEYS if key in content))
                name, text = str(content.get("id", Path(audio).with_suffix("").as_posix())), content["text"]
                if not isinstance(text, str):
                    raise TypeError
            except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
                raise MamTraError(f'Line {number} of {self._path} is not {{"audio": path, "text": words}}.') from error
            place = os.path.join(self._path.parent, audio)
            found.append(
                Item(
                    name,
                    place,
                    text,
                    str(content.get("speaker", "unknown")),
                    str(content.get("source", self._path.stem)),
                )
            )
        return _sorted(found, self._path)


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
        text = next(
            (name for name in ("text_normalized", "normalized_text", "text", "sentence") if name in columns), None
        )
        if text is None or "audio" not in columns:
            raise MamTraError(
                f"The data set {self._name} needs the columns audio and text; it has {', '.join(columns)}."
            )
        others = {name: data[name] for name in (text, "speaker_id", "speaker", "id") if name in columns}
        speakers = others.get("speaker_id", others.get("speaker"))
        found = []
        for row in range(len(data)):
            name = str(others["id"][row]) if "id" in others else f"{row:09}"
            speaker = str(speakers[row]) if speakers is not None else "unknown"
            found.append(Item(name, str(row), str(others[text][row]), speaker, self._name))
        return _sorted(found, self._name)

    def read(self, item: Item) -> np.ndarray:
        """See `Recordings.read`."""
        sound = self._open()[int(item.audio)]["audio"]
        if sound.get("bytes") is None:
            return read_audio(sound["path"], RATE)[0]
        try:
            samples, rate = soundfile.read(io.BytesIO(sound["bytes"]), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise MamTraError(f"Row {item.audio} of {self._name} cannot be read as audio.") from error
        return resample(samples.mean(1), rate, RATE)

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


def _read_text(path: Path) -> str:
    """Contents of a UTF-8 file, with or without a byte order mark.

    Raises:
        MamTraError: it has another encoding.
    """
    check_regular(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MamTraError(f"{path} is not UTF-8 text; convert it, for example with iconv.") from error


def _subset(root: Path, transcript: Path) -> str:
    """The folder above speaker and chapter, or the root's own name."""
    parts = transcript.relative_to(root).parts
    return parts[-4] if len(parts) >= 4 else root.resolve().name


def _sorted(items: list[Item], where: object) -> list[Item]:
    if not items:
        raise MamTraError(f"{where} holds no recordings with transcripts.")
    ordered = sorted(items)
    for one, other in pairwise(ordered):
        if one.id == other.id:
            raise MamTraError(f"{where} has two recordings with the id {one.id}; give each its own.")
    return ordered
