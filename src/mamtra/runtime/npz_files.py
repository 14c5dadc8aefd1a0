"""Arrays from .npz files of others: forms and declared sizes are checked before anything is allocated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

LARGEST = 1 << 33
"""Bytes of one array."""
_INTEGERS, _WORDS = "iu", "US"


def read_lists(
    path: Path, integers: Sequence[str], maybe: Sequence[str] = (), words: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """One-dimensional arrays of a .npz file by name.

    Args:
        path: of the file.
        integers: names of lists of whole numbers; they are returned as int64.
        maybe: names of such lists that may be missing.
        words: names of lists of strings that may be missing.

    Raises:
        ValueError: the file is missing or damaged; a list is missing, of another form, or not as large as it declares.
    """
    if not path.is_file():
        raise ValueError("no file")
    found = {}
    try:
        with ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            for name in (*integers, *(name for name in (*maybe, *words) if name in there)):
                found[name] = _read(archive, name, _WORDS if name in words else _INTEGERS)
    # zipfile raises a RuntimeError for what is encrypted or compressed in ways that it does not know
    except (
        OSError,
        RuntimeError,
        KeyError,
        EOFError,
        BadZipFile,
        zlib.error,
        struct.error,
        SyntaxError,
        TypeError,
    ) as error:
        raise ValueError(str(error)) from error
    return found


def _read(archive: ZipFile, name: str, kinds: str) -> np.ndarray:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        shape, _, kind = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(file)
        size = kind.itemsize * shape[0] if len(shape) == 1 else -1
        if kind.kind not in kinds or not 0 <= size <= min(LARGEST, member.file_size):
            raise ValueError(f"{name} has another form, or not the size that it declares")
        content = file.read(size)
    if len(content) < size:
        raise ValueError(f"{name} is cut off")
    values = np.frombuffer(content, kind)
    return values.astype(np.int64) if kinds == _INTEGERS else values
