"""The tensors of a safetensors file where they lie: mapped into memory, never copied."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.light import protobuf
from mamtra.runtime.json_files import loads

_TYPES = {
    "F32": (protobuf.FLOAT, np.dtype("<f4")),
    "F16": (protobuf.FLOAT16, np.dtype("<f2")),
    "BF16": (protobuf.BFLOAT16, np.dtype("<u2")),
    "I8": (protobuf.INT8, np.dtype("i1")),
    "I64": (protobuf.INT64, np.dtype("<i8")),
}
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        kind: element type, as in `mamtra.light.protobuf`.
        shape: of the tensor.
        location: file name, first byte and number of bytes, as ONNX's external data want them.
        array: its values, read-only; the bits of bfloat16 as uint16.
    """

    kind: int
    shape: tuple[int, ...]
    location: Mapping[str, object]
    array: np.ndarray


class StoredWeights(Mapping[str, StoredTensor]):
    """A safetensors file by the names of its tensors.

    Args:
        path: the file.

    Raises:
        MamTraError: it is missing, damaged or in shards.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MamTraError(f"{path} is missing: the model directory is incomplete, fetch the model again.")
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                if size > _LONGEST_HEADER:
                    raise ValueError("no header")
                header = loads(file.read(size))
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            content = np.frombuffer(self._mapped, np.uint8, offset=8 + size)
            self.metadata: dict[str, str] = dict(header.pop("__metadata__", {}))
            self._tensors = {name: self._tensor(entry, content, 8 + size) for name, entry in header.items()}
        except (OSError, ValueError, KeyError, TypeError, struct.error, AttributeError) as error:
            raise MamTraError(f"{path} is damaged or is not a safetensors file; fetch the model again.") from error

    def _tensor(self, entry: dict[str, Any], content: np.ndarray, start: int) -> StoredTensor:
        kind, dtype = _TYPES[entry["dtype"]]
        first, last = entry["data_offsets"]
        shape = tuple(entry["shape"])
        array = content[first:last].view(dtype).reshape(shape)
        return StoredTensor(
            kind, shape, {"location": self.path.name, "offset": start + first, "length": last - first}, array
        )

    def __getitem__(self, name: str) -> StoredTensor:
        if name not in self._tensors:
            raise MamTraError(f"{self.path} has no weight {name}; it does not fit its config.json.")
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def let_go(self) -> None:
        """Take what was read out of this process's memory; it is read again where it is asked for."""
        if hasattr(self._mapped, "madvise"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def rows(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Rows (n, ...) float32 of a table."""
        return self._float(self[name], ids) * (self._scale(name, ids))

    def values(self, name: str) -> np.ndarray:
        """A small tensor as float32."""
        return self.rows(name, np.arange(self[name].shape[0]))

    @staticmethod
    def _float(stored: StoredTensor, ids: np.ndarray) -> np.ndarray:
        rows = stored.array[ids]
        if stored.kind == protobuf.BFLOAT16:
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32)

    def _scale(self, name: str, ids: np.ndarray) -> np.ndarray | float:
        if self[name].kind != protobuf.INT8:
            return np.float32(1)
        return self[f"{name}.scale"].array[ids].reshape(-1, *[1] * (len(self[name].shape) - 1))
