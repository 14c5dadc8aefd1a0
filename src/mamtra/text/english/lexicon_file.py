"""The file of a lexicon: lines sorted by their bytes, in pieces that are unpacked when one of their words is sought.

The file is a series of xz streams. The first one is a list: a line for each of the others with its first word and its length in
bytes. A line of these has, before its word and before its phonemes, how many bytes both share with the line before, as a character
counted from A. A file of one stream holds the lines as they are.
"""

from __future__ import annotations

import lzma
from bisect import bisect_right
from itertools import accumulate, pairwise, takewhile

PIECE = 3 * 2**14
"""Bytes of lines that are packed together; more take less space, and a word more time."""
_NONE, _MOST = ord("A"), 60


class LexiconFile:
    """The lines of a lexicon by the words that they begin with.

    Args:
        content: of the file.

    Raises:
        ValueError, lzma.LZMAError: it is damaged; so do the methods.
    """

    def __init__(self, content: bytes) -> None:
        first = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        head = first.decompress(content)
        if not first.eof:
            raise ValueError("it ends too early")
        self._packed, self._firsts, self._ends = first.unused_data, [b""], [0]
        self._unpacked: dict[int, bytes] = {}
        if not self._packed:
            self._unpacked[0] = head if head.endswith(b"\n") or not head else head + b"\n"
            return
        words, sizes = zip(*(line.split(b"\t") for line in head.splitlines()), strict=True)
        self._firsts, self._ends = list(words), list(accumulate(map(int, sizes), initial=0))
        if self._ends[-1] != len(self._packed):
            raise ValueError("its list does not fit")

    def near(self, word: bytes) -> bytes:
        """The lines among which a word has its place."""
        return self._piece(max(0, bisect_right(self._firsts, word) - 1))

    def all(self) -> bytes:
        """All lines."""
        return b"".join(map(self._piece, range(len(self._firsts))))

    def _piece(self, number: int) -> bytes:
        if number not in self._unpacked:
            packed = self._packed[self._ends[number] : self._ends[number + 1]]
            self._unpacked[number] = _unfolded(lzma.decompress(packed, lzma.FORMAT_XZ))
        return self._unpacked[number]


def pack_lexicon(lines: list[bytes]) -> bytes:
    """The content of a lexicon's file of sorted lines ``word<TAB>phonemes<NEWLINE>``."""
    ends = accumulate(map(len, lines), initial=0)
    starts = [number for number, (end, then) in enumerate(pairwise(ends)) if end // PIECE != (then - 1) // PIECE]
    bounds = pairwise(sorted({0, *starts, len(lines)}))
    pieces = [lines[first:last] for first, last in bounds]
    packed = [_packed(_folded(piece)) for piece in pieces]
    listed = [b"%b\t%d\n" % (piece[0].split(b"\t")[0], len(made)) for piece, made in zip(pieces, packed, strict=True)]
    return b"".join([_packed(b"".join(listed)), *packed])


def _packed(data: bytes) -> bytes:
    # letters: those before one tell it, and no position does
    letters = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0, "dict_size": 2**16}
    return lzma.compress(data, check=lzma.CHECK_CRC32, filters=[letters])


def _folded(lines: list[bytes]) -> bytes:
    before, made = [b"", b""], list[bytes]()
    for line in lines:
        parts = line.rstrip(b"\n").split(b"\t")
        same = [_shared(*pair) for pair in zip(before, parts, strict=True)]
        folded = (bytes([_NONE + n]) + part[n:] for n, part in zip(same, parts, strict=True))
        made.append(b"\t".join(folded) + b"\n")
        before = parts
    return b"".join(made)


def _shared(before: bytes, then: bytes) -> int:
    return min(_MOST, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, then, strict=False))))


def _unfolded(data: bytes) -> bytes:
    word, sounds, made = b"", b"", list[bytes]()
    for line in data.splitlines():
        first, _, second = line.partition(b"\t")
        if not (first and second):
            raise ValueError("a line of it has no phonemes")
        word, sounds = word[: first[0] - _NONE] + first[1:], sounds[: second[0] - _NONE] + second[1:]
        made.append(b"%b\t%b\n" % (word, sounds))
    return b"".join(made)
