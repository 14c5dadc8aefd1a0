"""ONNX files of a few hundred bytes, written without the onnx package: the fields of the protocol buffers by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FLOAT, INT32 = 1, 6


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Fields as (number, value): integers as varints, all else with its length in front."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def value(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    dims = [(1, message((2 if isinstance(size, str) else 1, size))) for size in shape]
    return message((1, name), (2, message((1, message((1, kind), (2, message(*dims)))))))


def node(op: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    made = []
    for name, content in attributes.items():
        many = isinstance(content, list)
        values = [(8, each) for each in content] if many else [(3, content)]
        made.append((5, message((1, name), *values, (20, 7 if many else 2))))
    return message(*((1, name) for name in inputs), (2, output), (4, op), *made)


def model(nodes: list[bytes], inputs: list[bytes], outputs: list[bytes], initializers: list[bytes] = ()) -> bytes:
    graph = message(
        *((1, each) for each in nodes),
        (2, "tiny"),
        *((5, each) for each in initializers),
        *((11, each) for each in inputs),
        *((12, each) for each in outputs),
    )
    return message((1, 8), (7, graph), (8, message((2, 13))))


def write_onnx_files(directory: Path, width: int = 16) -> None:
    """A speaker encoder (mean over time, then a matrix) and a speech tokenizer (loudness of each 40 ms) of a CosyVoice 2
    directory."""
    matrix = np.random.default_rng(0).normal(size=(80, width)).astype("<f4")
    weight = message((1, 80), (1, width), (2, FLOAT), (8, "w"), (9, matrix.tobytes()))
    speaker = model(
        [node("ReduceMean", ["x"], "m", axes=[1], keepdims=0), node("MatMul", ["m", "w"], "y")],
        [value("x", FLOAT, (1, "T", 80))],
        [value("y", FLOAT, (1, width))],
        [weight],
    )
    (directory / "campplus.onnx").write_bytes(speaker)
    tokenizer = model(
        [
            node("ReduceMean", ["mel"], "a", axes=[1], keepdims=1),
            node("MaxPool", ["a"], "b", kernel_shape=[4], strides=[4]),
            node("Abs", ["b"], "c"),
            node("Cast", ["c"], "codes", to=INT32),
        ],
        [value("mel", FLOAT, (1, 128, "T")), value("length", INT32, (1,))],
        [value("codes", INT32, (1, 1, "N"))],
    )
    (directory / "speech_tokenizer_v2.onnx").write_bytes(tokenizer)
