"""Safetensors files written one tensor at a time, so that only one is in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from torch import Tensor

from mamtra.checkpoints.tensor_files import DTYPES, INDEX, TensorInfo, as_bytes
from mamtra.runtime.json_files import write_json

SHARD_BYTES = 5_000_000_000
_CODES = {dtype: code for code, dtype in DTYPES.items()}


class TensorWriter:
    """Writes one file, or shards with an index where the tensors exceed `shard_bytes`.

    Types and shapes are given first, for the headers; the tensors follow in any order. A context manager: leaving it
    without an error checks that all were written.

    Args:
        path: the file; shards are named after it, NAME-00001-of-00003.safetensors.
        tensors: types and shapes; shards are filled in this order.
        shard_bytes: limit of a shard, unless a single tensor is larger.
        metadata: of each file's header.
    """

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, TensorInfo],
        *,
        shard_bytes: int = SHARD_BYTES,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._tensors = dict(tensors)
        self._waiting = set(tensors)
        self._open: list[BinaryIO] = []
        self._place: dict[str, tuple[BinaryIO, int]] = {}
        groups = _groups(tensors, shard_bytes)
        self.files = [path] if len(groups) == 1 else _shard_names(path, len(groups))
        try:
            for file, names in zip(self.files, groups, strict=True):
                self._begin(file, names, dict(metadata or {}))
            if len(groups) > 1:
                where = {name: file.name for file, names in zip(self.files, groups, strict=True) for name in names}
                size = sum(info.bytes for info in tensors.values())
                write_json(path.with_name(path.name + INDEX), {"metadata": {"total_size": size}, "weight_map": where})
        except BaseException:
            self._close()
            raise

    def write(self, name: str, tensor: Tensor) -> None:
        """Write a tensor.

        Raises:
            ValueError: its type or shape is not the announced one.
            OSError: the disk is full or fails.
        """
        info = TensorInfo(tensor.dtype, tuple(tensor.shape))
        if info != self._tensors[name]:
            raise ValueError(f"{name} is {info}, not {self._tensors[name]}")
        file, offset = self._place[name]
        file.seek(offset)
        file.write(as_bytes(tensor))
        self._waiting.discard(name)

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if kind is None and self._waiting:
            raise ValueError(f"{len(self._waiting)} tensors have not been written, such as {min(self._waiting)}")

    def _begin(self, path: Path, names: list[str], metadata: dict[str, str]) -> None:
        # wide elements first, so that every tensor is aligned to its element
        ordered = sorted(names, key=lambda name: (-self._tensors[name].dtype.itemsize, name))
        header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
        offsets, end = {}, 0
        for name in ordered:
            info = self._tensors[name]
            offsets[name], end = end, end + info.bytes
            span = [offsets[name], end]
            header[name] = {"dtype": _CODES[info.dtype], "shape": list(info.shape), "data_offsets": span}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file = path.open("wb")
        self._open.append(file)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
        self._place |= {name: (file, 8 + len(text) + offset) for name, offset in offsets.items()}

    def _close(self) -> None:
        for file in self._open:
            file.close()


def _groups(tensors: Mapping[str, TensorInfo], limit: int) -> list[list[str]]:
    """Names by shard."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, info in tensors.items():
        if groups[-1] and size + info.bytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += info.bytes
    return groups


def _shard_names(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{i:05}-of-{count:05}{path.suffix}") for i in range(1, count + 1)]
