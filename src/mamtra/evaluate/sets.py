"""Test sets: what a system is to say, in whose voice, and what a careful reader said."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.evaluate.sentences import SENTENCES
from mamtra.runtime.files import hash_files

BUILT_IN = {"plain": SENTENCES, "sample": Path(__file__).with_name("sample") / "sample.lst"}
SOUNDS = (".wav", ".flac")


@dataclass(frozen=True)
class Line:
    """One utterance of a set.

    Attributes:
        id: unique in the set; a system's sound is ID.wav.
        text: what the system is given.
        reference: the words that are to be heard, the text itself where the set knows no better.
        category: kind of sentence, where the set has kinds.
        prompt: recording of the voice to speak with, where the set gives one.
        prompt_text: what is said in it.
        truth: the same text by a human, where the set has it.
    """

    id: str
    text: str
    reference: str
    category: str = ""
    prompt: Path | None = None
    prompt_text: str | None = None
    truth: Path | None = None


@dataclass(frozen=True)
class TestSet:
    """A named list of lines and the digest of its file or files.

    Attributes:
        name: of the set.
        lines: in their order.
        sha256: of what was read, first 16 digits.
    """

    __test__ = False  # not a test of pytest's

    name: str
    lines: tuple[Line, ...]
    sha256: str


def read_set(source: str | Path, limit: int | None = None) -> TestSet:
    """Read a set.

    Args:
        source: "plain" (24 sentences that come with the package); "sample" (six with recordings of a synthetic voice); FILE.lst
            of Seed-TTS-eval (2 to 5 fields between bars, sound files relative to the list; LibriSpeech-PC's cross-sentence
            lists are of this form); FILE.tsv with the columns id and text, and spoken, category, prompt and truth where known (the
            last two are sound files relative to it); FILE.txt with a sentence a line, or a number of words, a tab and a
            sentence; a LibriTTS folder (ID.normalized.txt beside ID.wav).
        limit: take only the first lines.

    Raises:
        MamTraError: there is no such set, it has no lines, or a line of it cannot be used: with its file and number.
    """
    path = BUILT_IN.get(str(source)) or Path(source)
    if path.is_dir():
        lines, digest = list(_tree(path)), hash_files(*sorted(path.rglob("*.normalized.txt")))
    elif path.is_file():
        reader = READERS.get(path.suffix, _plain)
        lines, digest = list(_numbered(path, reader)), hash_files(path)
    else:
        raise MamTraError(
            f"There is no test set {source}; give {', '.join(BUILT_IN)}, a .lst, .tsv or .txt file, or a LibriTTS folder."
        )
    if not lines:
        raise MamTraError(f"{path} holds no utterance.")
    seen: set[str] = set()
    for line in lines:
        if line.id in seen:
            raise MamTraError(f"{path} has two lines with the id {line.id!r}.")
        seen.add(line.id)
    return TestSet(str(source) if str(source) in BUILT_IN else path.name, tuple(lines[:limit]), digest[:16])


def _numbered(path: Path, reader: Callable[[Path, list[str]], Iterator[Line]]) -> Iterator[Line]:
    try:
        texts = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise MamTraError(f"{path} is not a UTF-8 text file.") from error
    return reader(path, texts)


def _seed_tts(path: Path, texts: list[str]) -> Iterator[Line]:
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        fields = [field.strip() for field in text.split("|")]
        if not 2 <= len(fields) <= 5:
            raise MamTraError(f"{path}, line {number}: {len(fields)} fields between bars, not 2 to 5.")
        name = fields[0].removesuffix(".wav")
        said = fields[1] if len(fields) < 4 else fields[3]
        prompt = fields[2] if len(fields) > 2 else ""
        truth = fields[4] if len(fields) > 4 else ""
        yield Line(
            _id(path, number, name),
            _text(path, number, said),
            said,
            prompt=_sound(path, number, prompt) if prompt else None,
            prompt_text=(fields[1] or None) if len(fields) > 3 else None,
            truth=_sound(path, number, truth) if truth else None,
        )


def _columns(path: Path, texts: list[str]) -> Iterator[Line]:
    rows = csv.DictReader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
    lacking = {"id", "text"} - set(rows.fieldnames or ())
    if lacking:
        raise MamTraError(f"{path}, line 1: no column {' and '.join(sorted(lacking))}.")
    for number, row in enumerate(rows, 2):
        said = _text(path, number, row["text"] or "")
        prompt, truth = ((row.get(name) or "").strip() for name in ("prompt", "truth"))
        yield Line(
            _id(path, number, row["id"]),
            said,
            row.get("spoken") or said,
            row.get("category") or "",
            prompt=_sound(path, number, prompt) if prompt else None,
            truth=_sound(path, number, truth) if truth else None,
        )


def _plain(path: Path, texts: list[str]) -> Iterator[Line]:
    filled = [(number, text.strip()) for number, text in enumerate(texts, 1) if text.strip()]
    counted = all(text.partition("\t")[0].isdigit() and "\t" in text for _, text in filled)
    for number, text in filled:
        count, _, rest = text.partition("\t")
        said = _text(path, number, rest if counted else text)
        yield Line(f"line{number:04d}", said, said, f"{count} words" if counted else "")


def _tree(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.rglob("*.normalized.txt")):
        name = path.name.removesuffix(".normalized.txt")
        said = _text(path, 1, path.read_text(encoding="utf-8").strip())
        found = [path.with_name(name + suffix) for suffix in SOUNDS if path.with_name(name + suffix).is_file()]
        if not found:
            raise MamTraError(f"{path} has no sound file {name}.wav beside it.")
        yield Line(name, said, said, truth=found[0])


READERS = {".lst": _seed_tts, ".tsv": _columns, ".txt": _plain}


def _id(path: Path, number: int, name: str) -> str:
    if not name or any(c in name for c in "/\\") or name.startswith("."):
        raise MamTraError(f"{path}, line {number}: {name!r} cannot be the id of an utterance, which names a file.")
    return name


def _text(path: Path, number: int, text: str) -> str:
    if not text.strip():
        raise MamTraError(f"{path}, line {number}: there is no text.")
    return text.strip()


def _sound(path: Path, number: int, name: str) -> Path:
    found = path.parent / name
    if not found.is_file():
        raise MamTraError(f"{path}, line {number}: there is no sound file {found}.")
    return found
