"""Subtitles of spoken words, as SubRip (.srt) or WebVTT (.vtt).

A subtitle has at most two lines of 42 characters and 7 seconds, and ends with a sentence where that is possible.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

from mamtra.runtime.files import write_bytes
from mamtra.synthesis.word_times import Word
from mamtra.text.incremental import sentences

LINE, LINES, SECONDS = 42, 2, 7.0
Format = Literal["srt", "vtt"]


class Subtitle(NamedTuple):
    """What is shown at once.

    Attributes:
        lines: one or two.
        start: seconds.
        end: seconds.
    """

    lines: list[str]
    start: float
    end: float


def subtitles(words: Sequence[Word]) -> list[Subtitle]:
    """Words with times, cut into subtitles.

    A word that is longer than a line stands on a line of its own.
    """
    found = []
    for group in _groups(words):
        lines = _lines([word.text.strip() for word in group])
        found.append(Subtitle(_balanced(lines), group[0].start, group[-1].end))
    return found


def to_text(shown: Sequence[Subtitle], fmt: Format) -> str:
    """The content of a file."""
    comma = "," if fmt == "srt" else "."
    blocks = [] if fmt == "srt" else ["WEBVTT"]
    for number, each in enumerate(shown, 1):
        times = " --> ".join(_clock(seconds, comma) for seconds in (each.start, each.end))
        text = "\n".join(each.lines)
        if fmt == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{number}\n{times}\n{text.replace('-->', '->')}")
    return "\n\n".join(blocks) + "\n"


def save_subtitles(words: Sequence[Word], path: str | os.PathLike, fmt: Format) -> Path:
    """Write a file of subtitles, whole or not at all.

    Raises:
        MamTraError: it cannot be written.
    """
    write_bytes(path, to_text(subtitles(words), fmt).encode("utf-8"))
    return Path(path)


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Words of a subtitle each: a sentence, or parts of a long one that are about equally long."""
    for sentence in _sentences(words):
        parts = _parts(sentence, inf)
        even = _parts(sentence, sum(_size(word.text) for word in sentence) / len(parts))
        yield from even if len(even) == len(parts) else parts


def _sentences(words: Sequence[Word]) -> Iterator[list[Word]]:
    ends = set(accumulate(_size(sentence) for sentence in sentences(word.text for word in words)))
    sentence, at = list[Word](), 0
    for word in words:
        sentence.append(word)
        at += _size(word.text)
        if at in ends:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _parts(words: Sequence[Word], goal: float) -> list[list[Word]]:
    """As many words as fit, or as make up so many characters."""
    parts: list[list[Word]] = [[]]
    for word in words:
        group = parts[-1]
        lines = _lines([each.text.strip() for each in [*group, word]])
        full = len(lines) > LINES or word.end - (group or [word])[0].start > SECONDS
        if group and (full or sum(_size(each.text) for each in group) >= goal):
            parts.append([])
        parts[-1].append(word)
    return parts


def _size(text: str) -> int:
    """Characters but white space."""
    return len("".join(text.split()))


def _lines(words: Sequence[str]) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _balanced(lines: list[str]) -> list[str]:
    """Two lines of a length as equal as possible, the upper one not longer where both ways are equal."""
    if len(lines) != LINES:
        return lines
    words = " ".join(lines).split(" ")
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    fitting = [cut for cut in cuts if max(map(len, cut)) <= LINE]
    return list(min(fitting, key=lambda cut: abs(len(cut[0]) - len(cut[1])))) if fitting else lines


def _clock(seconds: float, comma: str) -> str:
    total = round(1000 * max(0.0, seconds))
    minutes, rest = divmod(total, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"
