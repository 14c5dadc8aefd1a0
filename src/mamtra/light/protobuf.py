"""The few messages of the ONNX format (onnx.proto3), written as bytes: a graph needs no library to be made.

Names of functions and arguments are those of the format; fields are written in the order of their numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 16
"""Element types."""
Attribute = int | float | str | bytes | Sequence[int] | Sequence[float]
_IR_VERSION = 10
_SHORT = [bytes([value]) for value in range(0x80)]
"""Of numbers and tags that fit into a byte: nearly all, and a graph has tens of thousands."""


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _SHORT[value]
    value &= 2**64 - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    size = len(value)
    return _SHORT[field << 3 | 2] + (_SHORT[size] if size < 0x80 else _varint(size)) + value


def _many(field: int, values: Iterable[bytes | str]) -> bytes:
    return b"".join(_bytes(field, value) for value in values)


def _entries(field: int, values: Mapping[str, object]) -> bytes:
    return _many(field, (_bytes(1, key) + _bytes(2, str(value)) for key, value in values.items()))


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        body = _integer(3, value) + _integer(20, 2)
    elif isinstance(value, float):
        body = b"\x15" + struct.pack("<f", value) + _integer(20, 1)
    elif isinstance(value, str | bytes):
        body = _bytes(4, value) + _integer(20, 3)
    elif value and isinstance(value[0], float):
        body = b"".join(b"\x3d" + struct.pack("<f", each) for each in value) + _integer(20, 6)
    else:
        body = b"".join(_integer(8, int(each)) for each in value) + _integer(20, 7)
    return _bytes(1, name) + body


def node(
    op: str, inputs: Iterable[str], outputs: Iterable[str], attributes: Mapping[str, Attribute], domain: str
) -> bytes:
    """A NodeProto; an empty name leaves out an optional input or output."""
    made = _many(1, inputs) + _many(2, outputs) + _bytes(4, op)
    made += _many(5, (_attribute(*attribute) for attribute in attributes.items()))
    return made + (_bytes(7, domain) if domain else b"")


def tensor(name: str, kind: int, shape: Sequence[int], data: bytes) -> bytes:
    """A TensorProto with its data in it."""
    return _tensor_head(kind, shape) + _bytes(8, name) + _bytes(9, data)


def external_tensor(name: str, kind: int, shape: Sequence[int], location: Mapping[str, object]) -> bytes:
    """A TensorProto whose data lie in another file, at ``{"location": ..., "offset": ..., "length": ...}``."""
    return _tensor_head(kind, shape) + _bytes(8, name) + _entries(13, location) + _integer(14, 1)


def _tensor_head(kind: int, shape: Sequence[int]) -> bytes:
    return b"".join(_integer(1, size) for size in shape) + _integer(2, kind)


def value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of a tensor; a string in the shape names a size that is known only when the graph is run."""
    sizes = (_bytes(2, size) if isinstance(size, str) else _integer(1, size) for size in shape)
    described = _integer(1, kind) + _bytes(2, _many(1, sizes))
    return _bytes(1, name) + _bytes(2, _bytes(1, described))


def model(
    name: str,
    nodes: Iterable[bytes],
    tensors: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
    opsets: Mapping[str, int],
    metadata: Mapping[str, str],
) -> bytes:
    """A ModelProto of one graph."""
    graph = _many(1, nodes) + _bytes(2, name) + _many(5, tensors) + _many(11, inputs) + _many(12, outputs)
    versions = (_bytes(1, domain) + _integer(2, version) for domain, version in opsets.items())
    head = _integer(1, _IR_VERSION) + _bytes(2, "mamtra") + _bytes(7, graph)
    return head + _many(8, versions) + _entries(14, metadata)
