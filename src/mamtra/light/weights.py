"""The tensors of safetensors files where they lie: mapped into memory, never copied, but for those of 4 bits."""

from __future__ import annotations

import json
import mmap
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.checkpoints.four_bits import unpack_groups
from mamtra.checkpoints.parts import BESIDE, LEFT
from mamtra.errors import MamTraError
from mamtra.light import protobuf
from mamtra.runtime.json_files import loads

_TYPES = {
    "F32": (protobuf.FLOAT, np.dtype("<f4")),
    "F16": (protobuf.FLOAT16, np.dtype("<f2")),
    "BF16": (protobuf.BFLOAT16, np.dtype("<u2")),
    "I8": (protobuf.INT8, np.dtype("i1")),
    "U8": (protobuf.UINT8, np.dtype("u1")),
    "I64": (protobuf.INT64, np.dtype("<i8")),
}
_CODES = {kind: code for code, (kind, _) in _TYPES.items()}
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
    """A safetensors file by the names of its tensors. One of 4 bits is float32 here, unpacked when it is asked for.

    Args:
        path: the file.
        base: the same file of the base of its model; read where the former leaves tensors to it.

    Attributes:
        path: see above.
        files: the file, and that of the base where tensors are taken from it.
        metadata: of the file.

    Raises:
        MamTraError: a file is missing, damaged or in shards.
    """

    def __init__(self, path: Path, base: Path | None = None) -> None:
        self.path = path
        self.files: tuple[Path, ...] = (path,)
        self._base: StoredWeights | None = None
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
            left = self.metadata.get(LEFT, "").split()
            self._entries = {name: self._tensor(entry, content, 8 + size) for name, entry in header.items()}
        except (OSError, ValueError, KeyError, TypeError, struct.error, AttributeError) as error:
            raise MamTraError(f"{path} is damaged or is not a safetensors file; fetch the model again.") from error
        if left and base is not None:
            self._base = StoredWeights(base)
            self.files = (path, base)
            theirs = self._base._entries
            taken = {name + ending for name in left for ending in ("", *BESIDE)} & theirs.keys()
            self._entries = {name: theirs[name] for name in taken} | self._entries
        kinds = {name: entry.kind for name, entry in self._entries.items()}
        self._packed = {
            name
            for name, kind in kinds.items()
            if kind == protobuf.UINT8 and all(name + ending in kinds for ending in BESIDE)
        }
        self._unpacked: dict[str, StoredTensor] = {}
        beside = {name + ending for name in self._packed for ending in BESIDE}
        self._tensors = {name: entry for name, entry in self._entries.items() if name not in beside}

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
        if name not in self._packed:
            return self._tensors[name]
        found = self._unpacked.get(name)
        if found is None:
            entries = (self._entries[name + ending].array for ending in ("", *BESIDE))
            array = unpack_groups(name, *entries)
            place = {"location": name, "offset": 0, "length": array.nbytes}
            found = self._unpacked[name] = StoredTensor(protobuf.FLOAT, array.shape, place, array)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def let_go(self) -> None:
        """Take what was read out of this process's memory; it is read again where it is asked for."""
        self._unpacked.clear()
        if hasattr(self._mapped, "madvise"):
            self._mapped.madvise(mmap.MADV_DONTNEED)
        if self._base is not None:
            self._base.let_go()

    def save(self, path: Path) -> None:
        """Write a file that leaves no tensor to another one and has none of 4 bits."""
        if self._base is None and not self._packed:
            shutil.copyfile(self.path, path)
            return
        # wide elements first, so that every tensor is aligned to its element
        ordered = sorted(self.items(), key=lambda item: (-item[1].array.itemsize, item[0]))
        metadata = {key: value for key, value in self.metadata.items() if key != LEFT}
        if self._packed:
            metadata["storage"] = "float32"
        header, end = dict[str, Any](__metadata__=metadata), 0
        for name, tensor in ordered:
            begin, end = end, end + tensor.array.nbytes
            shape = list(tensor.shape)
            header[name] = {"dtype": _CODES[tensor.kind], "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, tensor in ordered:
                file.write(tensor.array.tobytes())
        self._unpacked.clear()

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
