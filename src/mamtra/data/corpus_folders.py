"""Corpora in folders: LibriTTS, LibriSpeech, LJSpeech, and sound files with a .txt beside each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from mamtra.data.recordings import SOUNDS, Item, Recordings, file_item, ordered
from mamtra.errors import MamTraError
from mamtra.runtime.text_files import read_text


class _Folder(Recordings):
    """A root folder, searched once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def items(self) -> list[Item]:
        """See `Recordings.items`; sound files without a transcript are counted too."""
        sounds: dict[Path, Path] = {}
        transcripts = []
        for path in sorted(self._root.rglob("*")):
            kind = path.suffix.lower()
            if path.name.startswith("."):  # what file managers leave beside files
                continue
            if kind in SOUNDS:
                other = sounds.get(path.with_suffix(""))
                if other is None or SOUNDS.index(kind) < SOUNDS.index(other.suffix.lower()):
                    sounds[path.with_suffix("")] = path
            elif kind in (".txt", ".csv"):
                transcripts.append(path)
        found = []
        for item in self._transcribed(transcripts, set(sounds)):
            place = sounds.pop(Path(item.audio), None)
            if place is None and not item.problem:
                detail = f"There is no sound file {item.audio}{SOUNDS[0]}."
                item = item._replace(problem="no sound file", detail=detail)
            found.append(item._replace(audio=str(place or item.audio)))
        known = {item.id for item in found}
        for path in sounds.values():
            name = path.stem if path.stem not in known else path.relative_to(self._root).as_posix()
            known.add(name)
            found.append(Item(name, str(path), "", "", "", "no transcript", f"{path} has no transcript."))
        return ordered(found, self._root)

    @abstractmethod
    def _transcribed(self, paths: list[Path], sounds: set[Path]) -> Iterator[Item]:
        """An item for each transcript; its audio is a path without a suffix, as those of `sounds` are."""

    def _subset(self, transcript: Path) -> str:
        """The folder above speaker and chapter, or the root's own name."""
        parts = transcript.relative_to(self._root).parts
        return parts[-4] if len(parts) >= 4 else self._root.resolve().name


class LibriTTS(_Folder):
    """``SUBSET/SPEAKER/CHAPTER/SPEAKER_CHAPTER_P_U.wav`` with ``.normalized.txt`` beside it."""

    def _transcribed(self, paths: list[Path], sounds: set[Path]) -> Iterator[Item]:
        for path in paths:
            if path.name.endswith(".normalized.txt"):
                name = path.name.removesuffix(".normalized.txt")
                item = Item(name, str(path.with_name(name)), "", name.split("_")[0], self._subset(path))
                yield file_item(item, path)


class LibriSpeech(_Folder):
    """``SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UUUU.flac``, and ``SPEAKER-CHAPTER.trans.txt`` with a line for each."""

    def _transcribed(self, paths: list[Path], sounds: set[Path]) -> Iterator[Item]:
        for path in paths:
            if not path.name.endswith(".trans.txt"):
                continue
            for line in read_text(path).split("\n"):
                name, _, text = line.strip().partition(" ")
                if name:
                    # in capitals every word would be read as an abbreviation
                    speaker = name.split("-")[0]
                    yield Item(name, str(path.with_name(name)), text.lower(), speaker, self._subset(path))


class LJSpeech(_Folder):
    """``wavs/ID.wav`` and ``metadata.csv`` with ``ID|as written|normalised`` a line; of two texts the last is taken."""

    def _transcribed(self, paths: list[Path], sounds: set[Path]) -> Iterator[Item]:
        name = self._root.resolve().name
        path = self._root / "metadata.csv"
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            key, *texts = line.strip().split("|")
            if not key or not 1 <= len(texts) <= 2:
                raise MamTraError(f"Line {number} of {path} is not ID|text or ID|text|normalised text.")
            yield Item(key, str(self._root / "wavs" / key), texts[-1] or texts[0], name, name)


class SoundsWithText(_Folder):
    """``NAME.wav`` with ``NAME.txt`` beside it, in any folders; the folder of a file is its speaker."""

    def _transcribed(self, paths: list[Path], sounds: set[Path]) -> Iterator[Item]:
        for path in paths:
            stem = path.with_suffix("")
            if path.suffix.lower() == ".txt" and stem in sounds:
                place = stem.relative_to(self._root)
                speaker = place.parent.as_posix() if place.parent.parts else "unknown"
                item = Item(place.as_posix(), str(stem), "", speaker, self._root.resolve().name)
                yield file_item(item, path)
