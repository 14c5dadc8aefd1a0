"""Test sets: texts to speak, prompts for the voice, and recordings of the same texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.evaluate.sentences import SENTENCES
from mamtra.runtime.files import hash_files, is_file
from mamtra.runtime.printable import printable
from mamtra.runtime.text_files import read_table, read_text

BUILT_IN = {"plain": SENTENCES, "sample": Path(__file__).with_name("sample") / "sample.lst"}
FORMS = f"give {', '.join(BUILT_IN)}, a .lst, .tsv, .csv or .txt file, or a LibriTTS folder"
SOUNDS = (".wav", ".flac")
LONGEST_ID = 200
"""Bytes; seed and suffix come behind an id in the name of a file."""


@dataclass(frozen=True)
class Line:
    """One utterance of a set.

    Attributes:
        id: unique in the set; a system's sound is ID.wav.
        text: input of the system.
        reference: the words that the ASR should find; the text itself where the set has no other.
        category: kind of sentence, where the set has kinds.
        prompt: recording of the voice to speak with, where the set gives one.
        prompt_text: transcript of the prompt.
        ground_truth: recording of the same text, where the set has one.
    """

    id: str
    text: str
    reference: str
    category: str = ""
    prompt: Path | None = None
    prompt_text: str | None = None
    ground_truth: Path | None = None


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
            lists are of this form); FILE.tsv or FILE.csv with the columns id and text, and spoken, category, prompt and
            ground_truth where known (the last two are sound files relative to it); FILE.txt with a sentence a line, or a number
            of words, a tab and a sentence; a LibriTTS folder (ID.normalized.txt beside ID.wav).
        limit: take only the first lines.

    Raises:
        MamTraError: there is no such set, it has no lines, or a line of it cannot be used; file and line are named.
    """
    path = BUILT_IN.get(str(source)) or Path(source)
    if path.is_dir():
        lines, digest = list(_tree(path)), hash_files(*sorted(path.rglob("*.normalized.txt")))
    elif path.is_file():
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise MamTraError(f"{path} is no test set; {FORMS}.")
        lines, digest = list(_numbered(path, reader)), hash_files(path)
    else:
        raise MamTraError(f"There is no test set {source}; {FORMS}.")
    if not lines:
        raise MamTraError(f"{path} holds no utterance.")
    seen: set[str] = set()
    for line in lines:
        if line.id.casefold() in seen:  # they name files, and not every disk tells A from a
            raise MamTraError(f"{path} has two lines with the id {printable(line.id)!r}.")
        seen.add(line.id.casefold())
    return TestSet(str(source) if str(source) in BUILT_IN else path.name, tuple(lines[:limit]), digest[:16])


def _numbered(path: Path, reader: Callable[[Path, list[str]], Iterator[Line]]) -> Iterator[Line]:
    return reader(path, read_text(path).split("\n"))


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
        ground_truth = fields[4] if len(fields) > 4 else ""
        yield Line(
            _id(path, number, name),
            _text(path, number, said),
            said,
            prompt=_sound(path, number, prompt) if prompt else None,
            prompt_text=(fields[1] or None) if len(fields) > 3 else None,
            ground_truth=_sound(path, number, ground_truth) if ground_truth else None,
        )


def _columns(path: Path, _: list[str]) -> Iterator[Line]:
    for number, row in read_table(path, (("id",), ("text",))):
        if "truth" in row:
            raise MamTraError(f"{path}, line 1: the column 'truth' is called 'ground_truth' now; rename it.")
        said = _text(path, number, row["text"] or "")
        prompt, ground_truth = ((row.get(name) or "").strip() for name in ("prompt", "ground_truth"))
        yield Line(
            _id(path, number, row["id"] or ""),
            said,
            row.get("spoken") or said,
            row.get("category") or "",
            prompt=_sound(path, number, prompt) if prompt else None,
            ground_truth=_sound(path, number, ground_truth) if ground_truth else None,
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
        said = _text(path, 1, read_text(path).strip())
        found = [path.with_name(name + suffix) for suffix in SOUNDS if path.with_name(name + suffix).is_file()]
        if not found:
            raise MamTraError(f"{path} has no sound file {name}.wav beside it.")
        yield Line(name, said, said, ground_truth=found[0])


READERS = {".lst": _seed_tts, ".tsv": _columns, ".csv": _columns, ".txt": _plain, "": _plain}


def _id(path: Path, number: int, name: str) -> str:
    if not name or any(c in name for c in "/\\\0") or name.startswith(".") or len(name.encode()) > LONGEST_ID:
        raise MamTraError(
            f"{path}, line {number}: {printable(name)!r} cannot be the id of an utterance, which names a file."
        )
    return name


def _text(path: Path, number: int, text: str) -> str:
    if not text.strip():
        raise MamTraError(f"{path}, line {number}: there is no text.")
    return text.strip()


def _sound(path: Path, number: int, name: str) -> Path:
    found = path.parent / name
    if not is_file(found):
        raise MamTraError(f"{path}, line {number}: there is no sound file {printable(str(found), 200)}.")
    return found
