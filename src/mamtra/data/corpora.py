"""Which corpus a place holds."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from mamtra.data.corpus_folders import LibriSpeech, LibriTTS, LJSpeech, SoundsWithText
from mamtra.data.corpus_lists import JsonLines, Table
from mamtra.data.hub_corpus import HubDataset
from mamtra.data.recordings import SOUNDS, Recordings
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_regular

HUB = "hf:"
"""Prefix of the name of a Hugging Face data set."""
METADATA = "metadata.csv"
_FORMS = (
    "a LibriTTS, LibriSpeech or LJSpeech folder, a folder of sound files with a .txt beside each, "
    "a .jsonl, .csv or .tsv file of audio and text, a token set .npz, or hf:NAME"
)


def open_recordings(place: str) -> Recordings:
    """Open a corpus by its form.

    Args:
        place: a folder with the layout of LibriTTS, LibriSpeech or LJSpeech, or with a .txt beside each sound file; a .jsonl,
            .csv or .tsv file; or ``hf:NAME[:SPLIT]``.

    Raises:
        MamTraError: it is none of these.
    """
    if place.startswith(HUB):
        name, _, split = place.removeprefix(HUB).partition(":")
        return HubDataset(name, split or "train")
    path = Path(place)
    if path.is_file():
        return _open_file(path)
    if not path.is_dir():
        check_regular(path)
        raise MamTraError(f"There is no corpus {place}; give {_FORMS}.")
    if (path / METADATA).is_file():
        return _open_file(path / METADATA)
    if next(path.rglob("*.trans.txt"), None) is not None:
        return LibriSpeech(path)
    if next(path.rglob("*.normalized.txt"), None) is not None:
        return LibriTTS(path)
    kinds = [form for kind in SOUNDS for form in (kind, kind.upper())]
    texts = (text for ending in ("*.txt", "*.TXT") for text in path.rglob(ending))
    if any(text.with_name(text.stem + kind).is_file() for text in texts for kind in kinds):
        return SoundsWithText(path)
    raise MamTraError(f"{place} holds no sound files with transcripts that are known; give {_FORMS}.")


def _open_file(path: Path) -> Recordings:
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return JsonLines(path)
    if path.name == METADATA and (path.parent / "wavs").is_dir() and _has_bars(path):
        return LJSpeech(path.parent)
    if kind in (".csv", ".tsv"):
        return Table(path)
    raise MamTraError(f"{path} is no corpus; give {_FORMS}.")


def _has_bars(path: Path) -> bool:
    """Whether the first lines are fields between bars, as LJSpeech's."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return all("|" in line for line in islice(file, 3) if line.strip())
