"""Tensors read one at a time from a safetensors file or from shards with an index, as on the Hugging Face hub.

FILE.safetensors, or FILE.safetensors.index.json with a ``weight_map`` from tensor names to the shards beside it. Tensors that it
leaves to the same file of another model are read from there.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mamtra.checkpoints.parts import BESIDE, LEFT
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_readable
from mamtra.runtime.json_files import read_json
from mamtra.runtime.printable import printable

INDEX = ".index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Element types by their names in safetensors files."""


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of a tensor, known before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the values."""
        return prod(self.shape) * self.dtype.itemsize


class TensorSource(ABC):
    """Named tensors on disk.

    Attributes:
        path: the file, or where it would be if it were not sharded.
        tensors: types and shapes, sorted by name.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]

    @abstractmethod
    def read(self, name: str) -> Tensor:
        """One tensor as it is stored: a view of the mapped file, whose memory is released with it.

        Raises:
            MamTraError: the file is missing or damaged.
        """


class TensorFiles(TensorSource):
    """A safetensors file or its shards.

    Args:
        path: the file; where only ``path.index.json`` is there, the shards that it names.
        base: the same file of the base of its model; read where `left` names tensors.

    Attributes:
        left: names of the tensors that the file leaves to that of the base, without the entries that belong to them.

    Raises:
        MamTraError: a file is missing or damaged, or the index does not fit the shards.
    """

    def __init__(self, path: str | os.PathLike, base: Path | None = None) -> None:
        self.path = Path(path)
        index = self.path.with_name(self.path.name + INDEX)
        if self.path.is_file() or not index.is_file():
            found, self.left = _describe(self.path)
            self._file = dict.fromkeys(found, self.path)
        else:
            self._file = _read_index(index)
            shards = {file: _describe(file) for file in sorted(set(self._file.values()))}
            self.left = sorted({name for _, left in shards.values() for name in left})
            lost = [name for name, file in self._file.items() if name not in shards[file][0]]
            if lost:
                raise MamTraError(
                    f"{self._file[lost[0]]} lacks {printable(lost[0])}, which {index.name} says it has; get the model again."
                )
            found = {name: shards[file][0][name] for name, file in self._file.items()}
        if self.left and base is not None:
            other = TensorFiles(base)
            entries = (name + ending for name in self.left for ending in ("", *BESIDE))
            taken = {each for each in entries if each in other.tensors}
            found = {name: other.tensors[name] for name in taken} | found
            self._file = {name: other._file[name] for name in taken} | self._file
        self.tensors = dict(sorted(found.items()))

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or the shards in order; those of the base too where tensors are taken from it."""
        return tuple(sorted(set(self._file.values())))

    def read(self, name: str) -> Tensor:
        """See `TensorSource.read`."""
        # opened for every tensor: a mapping keeps every page that was read in memory
        with _opened(self._file[name]) as file:
            return file.get_tensor(name)

    def load(self) -> dict[str, Tensor]:
        """All tensors as they are stored.

        Raises:
            MamTraError: a file is damaged.
        """
        tensors: dict[str, Tensor] = {}
        for path in self.files:
            with _opened(path) as file:
                tensors |= {name: file.get_tensor(name) for name, home in self._file.items() if home == path}
        return tensors


def update_digest(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    """Add name, type, shape and bytes of a tensor to a hash."""
    digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    digest.update(as_bytes(tensor))


def as_bytes(tensor: Tensor) -> memoryview:
    """The values in memory; no copy is made of a contiguous tensor."""
    return memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def hash_tensors(source: TensorSource) -> str:
    """SHA-256 of all tensors (names, types, shapes, bytes), whatever their order and files."""
    digest = hashlib.sha256()
    for name in source.tensors:
        update_digest(digest, name, source.read(name))
    return digest.hexdigest()


def _read_index(path: Path) -> dict[str, Path]:
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not all(map(_is_file_name, shards.values())):
        raise MamTraError(f"{path} is damaged: it does not say in which shard each tensor is; get the model again.")
    return {name: path.parent / shard for name, shard in shards.items()}


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and Path(value).name == value and value.isprintable() and len(value.encode()) < 256


def _describe(path: Path) -> tuple[dict[str, TensorInfo], list[str]]:
    """Its own tensors, and the names of those that it leaves to another file."""
    found = {}
    with _opened(path) as file:
        for name in sorted(file.keys()):
            entry = file.get_slice(name)
            if entry.get_dtype() not in DTYPES:
                raise MamTraError(
                    f"{path} stores {printable(name)} as {entry.get_dtype()}, which is not supported; convert it to BF16 first."
                )
            found[name] = TensorInfo(DTYPES[entry.get_dtype()], tuple(entry.get_shape()))
        left = (file.metadata() or {}).get(LEFT, "").split()
    return found, left


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """A safetensors file, mapped into memory."""
    if not path.is_file():
        raise MamTraError(f"{path} is missing; get the model again or check the path.")
    check_readable(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise MamTraError(f"{path} is damaged and cannot be read; get the model again.") from error
