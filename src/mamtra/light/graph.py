"""Writing a graph node by node, and the weights that it takes from safetensors files.

A graph for a file holds no weights. What a kernel wants of them (another sign of int8, several matrices as one) is written as nodes
over constants, which ONNX Runtime computes once, when it opens the graph; so the stored weights serve as they are. For a session of
this process that is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from mamtra.light import protobuf
from mamtra.light.folding import FOLDED
from mamtra.light.protobuf import Attribute
from mamtra.light.weights import StoredTensor, StoredWeights

CONTRIB = "com.microsoft"
OPSETS = {"": 21, CONTRIB: 1}
_KINDS = {
    np.dtype("float32"): protobuf.FLOAT,
    np.dtype("int64"): protobuf.INT64,
    np.dtype("int32"): protobuf.INT32,
    np.dtype("uint8"): protobuf.UINT8,
    np.dtype("bool"): protobuf.BOOL,
}
_SCALE, _LARGE = ".scale", 1024
Products = Literal["float", "blocks", "rows"]
"""Products with int8 weights: with weights that are unpacked to float32 when the graph is opened; as they are stored, with inputs
rounded to 8 bits in blocks of each row; as they are stored, with inputs rounded to 8 bits with one scale for all rows, which is
coarser, and faster for many rows."""


class GraphBuilder:
    """A graph under construction; values are known by their names.

    Args:
        name: of the graph.
        weights: what `weight` and `linear` look up.
        products: how to multiply with int8 weights, see `Products`.
        folded: it is for a session of this process, not for a file: what depends on constants alone is computed here, in less time
            and memory than ONNX Runtime has for it. Products of "blocks" need it.

    Attributes:
        used: the tensors that the graph refers to, by name.
    """

    def __init__(self, name: str, weights: StoredWeights, products: Products, *, folded: bool = False) -> None:
        self.name, self.weights, self.products, self._folded = name, weights, products, folded
        self.used: dict[str, StoredTensor] = {}
        self._nodes: list[tuple[str, Sequence[str], Sequence[str], Mapping[str, Attribute], str]] = []
        self._given: dict[str, str] = {}
        self._known: dict[str, StoredTensor] = {}
        self._tensors: dict[str, bytes] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], kind: int = protobuf.FLOAT) -> str:
        """Declare an input of the graph."""
        self._inputs.append(protobuf.value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str], kind: int = protobuf.FLOAT) -> None:
        """Make `value`, which a node has made, an output of the graph under this name."""
        self._given[value] = name
        self._outputs.append(protobuf.value_info(name, kind, shape))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Attribute) -> str:
        """Add a node with one output and return its name."""
        return self.ops(1, kind, *inputs, domain=domain, **attributes)[0]

    def ops(self, outputs: int, kind: str, *inputs: str, domain: str = "", **attributes: Attribute) -> list[str]:
        """Add a node with several outputs and return their names."""
        self._count += 1
        names = [f"{kind}_{self._count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        if self._folded and kind in FOLDED and all(name in self._known for name in inputs):
            given = [self._known[name] for name in inputs]
            array = np.asarray(FOLDED[kind](*(each.array for each in given), **attributes))
            return [self._know(names[0], int(attributes.get("to", given[0].kind)), array)]
        for name in inputs:
            self._need(name)
        self._nodes.append((kind, inputs, names, attributes, domain))
        return names

    def constant(self, value: np.ndarray | Sequence[int] | float) -> str:
        """A small constant: a float is a float32 scalar, a list of integers is int64."""
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        data = array.tobytes()
        about = data.hex() if len(data) < 64 else len(self._known)
        return self._know(
            f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{about}", _KINDS[array.dtype], array
        )

    def weight(self, name: str) -> str:
        """A stored tensor as float32."""
        stored = self.weights[name]
        if self._folded and stored.kind != protobuf.FLOAT:
            return self._once(f"{name}:unpacked", lambda: self.weights.values(name))
        raw = self._raw(name)
        if stored.kind == protobuf.FLOAT:
            return raw
        value = self.op("Cast", raw, to=protobuf.FLOAT)
        if stored.kind != protobuf.INT8:
            return value
        # not DequantizeLinear, which ONNX Runtime would fuse with the product after it into one of another accuracy
        scale = self.reshape(self._raw(name + _SCALE), (-1, *[1] * (len(stored.shape) - 1)))
        return self.op("Mul", value, scale)

    def linear(self, x: str, names: str | Sequence[str], bias: str = "") -> str:
        """``x @ W.T + bias`` for a stored (out, in) matrix, or for several below each other.

        Args:
            x: (..., in).
            names: of the matrices. A kernel (out, in, taps) counts as a matrix (out, taps * in).
            bias: value (out,).
        """
        names = [names] if isinstance(names, str) else list(names)
        kinds, shapes = ({getattr(self.weights[name], of) for name in names} for of in ("kind", "shape"))
        outputs, inputs = sum(self.weights[name].shape[0] for name in names), math.prod(next(iter(shapes))[1:])
        block = _block(inputs) if self.products == "blocks" else self.products == "rows"
        if kinds == {protobuf.INT8} and block:
            if self.products == "rows":
                scale = self._joined([self._raw(name + _SCALE) for name in names])
                packed = self._joined([self._matrix(self._raw(name), name) for name in names])
                given = (x, self.op("Transpose", packed, perm=[1, 0]), scale, "", bias)
                return self.op("DynamicQuantizeMatMul", *(given if bias else given[:3]), domain=CONTRIB)
            packed, scale = self._blocks(names, (outputs, inputs // block, block))
            sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": block, "accuracy_level": 4}
            given = (x, packed, scale, "", "", bias) if bias else (x, packed, scale)
            return self.op("MatMulNBits", *given, domain=CONTRIB, **sizes)
        if self._folded and kinds == {protobuf.INT8}:
            matrix = self._once(f"{names[0]}:unpacked matrix", lambda: self._unpack(names, inputs, outputs))
        else:
            matrix = self._joined([self._matrix(self.weight(name), name) for name in names])
            matrix = self.op("Transpose", matrix, perm=[1, 0])
        y = self.op("MatMul", x, matrix)
        return self.op("Add", y, bias) if bias else y

    def rows(self, name: str, ids: str) -> str:
        """The rows of a stored table by their numbers, as float32; the table itself stays as it is stored."""
        stored = self.weights[name]
        value = self.op("Gather", self._raw(name), ids, axis=0)
        if stored.kind == protobuf.FLOAT:
            return value
        value = self.op("Cast", value, to=protobuf.FLOAT)
        if stored.kind != protobuf.INT8:
            return value
        scale = self.op("Gather", self._raw(name + _SCALE), ids, axis=0)
        return self.op("Mul", value, self.op("Unsqueeze", scale, self.constant([-1])))

    def silu(self, x: str) -> str:
        """``x * sigmoid(x)``."""
        return self.op("QuickGelu", x, domain=CONTRIB, alpha=1.0)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Another shape of the same values; 0 keeps a size, -1 takes the rest."""
        return self.op("Reshape", x, self.constant(list(shape)))

    def _matrix(self, value: str, name: str) -> str:
        shape = self.weights[name].shape
        if len(shape) == 2:
            return value
        return self.reshape(self.op("Transpose", value, perm=[0, 2, 1]), (shape[0], shape[1] * shape[2]))

    def _blocks(self, names: list[str], shape: tuple[int, int, int]) -> tuple[str, str]:
        """Matrices below each other as `MatMulNBits` wants them, and their scales block by block."""
        rows = [self._stored_matrix(name) for name in names]
        scales = [self.weights[name + _SCALE].array for name in names]

        def pack() -> np.ndarray:
            # int8 counts from -128, unsigned values with zero point 128 from 0: the same bits but for the first
            return np.concatenate(rows).view(np.uint8).reshape(shape) ^ np.uint8(128)

        def spread() -> np.ndarray:
            return np.repeat(np.concatenate(scales).reshape(-1, 1), shape[1], axis=1)

        packed = self._once(f"{names[0]}:packed", pack, protobuf.UINT8)
        return packed, self._once(f"{names[0]}:scales", spread)

    def _unpack(self, names: list[str], inputs: int, outputs: int) -> np.ndarray:
        """Several matrices below each other as one, transposed, (in, out) float32."""
        made, end = np.empty((inputs, outputs), np.float32), 0
        for name in names:
            rows = self._stored_matrix(name)
            np.multiply(rows.T, self.weights[name + _SCALE].array, out=made[:, end : end + len(rows)])
            end += len(rows)
        return made

    def _stored_matrix(self, name: str) -> np.ndarray:
        rows = self.weights[name].array
        return rows if rows.ndim == 2 else rows.transpose(0, 2, 1).reshape(len(rows), -1)

    def _once(self, name: str, make: Callable[[], np.ndarray], kind: int = protobuf.FLOAT) -> str:
        """A tensor that is computed here, under a name of its own."""
        return name if name in self._known else self._know(name, kind, make())

    def _joined(self, parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def _raw(self, name: str) -> str:
        self._known[name] = self.weights[name]
        return name

    def _know(self, name: str, kind: int, array: np.ndarray) -> str:
        """A tensor that is no stored one; a large one lies beside a graph for a session."""
        large = self._folded and array.nbytes > _LARGE
        place = {"location": name, "offset": 0, "length": array.nbytes} if large else {}
        self._known[name] = StoredTensor(kind, array.shape, place, array)
        return name

    def _need(self, name: str) -> None:
        """Put a tensor into the graph, where the name is one's."""
        if name not in self._known or name in self._tensors:
            return
        known = self._known[name]
        if known.location:
            self.used[name] = known
            self._tensors[name] = protobuf.external_tensor(name, known.kind, known.shape, known.location)
        else:
            self._tensors[name] = protobuf.tensor(name, known.kind, known.shape, known.array.tobytes())

    def let_go(self) -> None:
        """Keep no tensor: it is finished."""
        self.used.clear()
        self._known.clear()

    def finish(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """The graph as the content of an .onnx file."""
        tensors, given = self._tensors.values(), self._given
        nodes = [
            protobuf.node(
                kind, *([given.get(name, name) for name in names] for names in (inputs, outputs)), about, domain
            )
            for kind, inputs, outputs, about, domain in self._nodes
        ]
        return protobuf.model(self.name, nodes, tensors, self._inputs, self._outputs, OPSETS, metadata or {})


def _block(inputs: int) -> int:
    """The largest size of a quantisation block that divides a row, 0 where none does."""
    return next((size for size in (64, 32, 16) if inputs % size == 0), 0)
