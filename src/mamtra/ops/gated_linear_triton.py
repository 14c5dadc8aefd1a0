"""The first half of a gated feed-forward layer, ``silu(gate(x)) * up(x)``, as one Triton product, for training on GPUs.

Rows of both matrices are interleaved, so that a thread of the product ends with both factors of a pair in its registers.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

TILE = {"BM": 128, "BN": 128, "BK": 64, "BAND": 8}
"""A program computes tiles of BM rows by BN pairs in steps of BK inputs; BAND rows of tiles share their reads in the cache."""
LAUNCH = {"num_warps": 8, "num_stages": 3}
ELEMENTS = 1024


def gated_linear_triton(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """``silu(x @ gate.T) * (x @ up.T)``.

    Args:
        x: (..., in), a multiple of 8, float16 or bfloat16.
        gate: (out, in) of any dtype, a multiple of 8.
        up: (out, in).

    Returns:
        (..., out) in the dtype of ``x``.
    """
    weight = torch.stack((gate.to(x.dtype), up.to(x.dtype)), 1).flatten(0, 1)
    flat = x.flatten(0, -2)
    made = _gated_linear(flat, weight)[0] if torch.is_grad_enabled() else _gated_linear_alone(flat, weight)
    return made.unflatten(0, x.shape[:-1])


@torch.library.custom_op("mamtra::gated_linear", mutates_args=())
def _gated_linear(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The result and both factors before the SiLU, each (rows, out)."""
    made, gate, up = _empty(x, weight)
    _launch(x, weight, made, gate, up)
    return made, gate, up


@_gated_linear.register_fake
def _empty(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    made, gate, up = (_empty_alone(x, weight) for _ in range(3))
    return made, gate, up


@torch.library.custom_op("mamtra::gated_linear_alone", mutates_args=())
def _gated_linear_alone(x: Tensor, weight: Tensor) -> Tensor:
    made = _empty_alone(x, weight)
    _launch(x, weight, made)
    return made


@_gated_linear_alone.register_fake
def _empty_alone(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0] // 2)


def _launch(x: Tensor, weight: Tensor, made: Tensor, *factors: Tensor) -> None:
    tiles = -(-made.shape[0] // TILE["BM"]), -(-made.shape[1] // TILE["BN"])
    programs = min(tiles[0] * tiles[1], _processors(x.device))
    tile = {**TILE, "PROGRAMS": programs, "KEEP": bool(factors)}
    bm, bn, bk = TILE["BM"], TILE["BN"], TILE["BK"]
    outputs = [TensorDescriptor.from_tensor(t, [bm, bn]) for t in (made, *(factors or (made, made)))]
    _product_kernel[(programs,)](
        TensorDescriptor.from_tensor(x.contiguous(), [bm, bk]),
        TensorDescriptor.from_tensor(weight.contiguous(), [2 * bn, bk]),
        *outputs, *tiles, -(-x.shape[1] // bk), **tile, **LAUNCH,
    )  # fmt: skip


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@torch.library.custom_op("mamtra::gated_linear_backward", mutates_args=())
def _in_pairs(grad: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """Gradients of both factors, interleaved, (rows, 2 * out)."""
    found, count = _empty_pairs(grad, gate, up), grad.numel()
    _backward_kernel[(-(-count // ELEMENTS),)](grad.contiguous(), gate, up, found, count, E=ELEMENTS)
    return found


@_in_pairs.register_fake
def _empty_pairs(grad: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape[0], 2 * gate.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    x, weight, gate, up = ctx.saved_tensors
    in_pairs = _in_pairs(grad, gate, up)
    return in_pairs @ weight, in_pairs.t() @ x


_gated_linear.register_autograd(_differentiate, setup_context=_keep)


@triton.jit
def _product_kernel(
    x_at, weight_at, made_at, gate_at, up_at, rows, columns, steps,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BAND: tl.constexpr, PROGRAMS: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    for tile in tl.range(tl.program_id(0), rows * columns, PROGRAMS, flatten=True):
        # tiles of a band of rows run one after another, column by column, so that their reads hit the cache
        first = tile // (BAND * columns) * BAND
        band = min(rows - first, BAND)
        within = tile % (BAND * columns)
        m, n = (first + within % band) * BM, within // band * BN
        pairs = tl.zeros([BM, 2 * BN], tl.float32)
        for k in range(steps):
            pairs = tl.dot(x_at.load([m, k * BK]), weight_at.load([2 * n, k * BK]).T, pairs)
        gate, up = tl.split(tl.reshape(pairs, [BM, BN, 2]))
        if KEEP:
            gate_at.store([m, n], gate.to(gate_at.dtype))
            up_at.store([m, n], up.to(up_at.dtype))
        made_at.store([m, n], (gate / (1 + tl.exp(-gate)) * up).to(made_at.dtype))


@triton.jit
def _backward_kernel(grad_at, gate_at, up_at, found_at, count, E: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * E
    i, j = at + tl.arange(0, E), 2 * at + tl.arange(0, 2 * E)
    grad = tl.load(grad_at + i, i < count, 0.0).to(tl.float32)
    gate = tl.load(gate_at + i, i < count, 0.0).to(tl.float32)
    up = tl.load(up_at + i, i < count, 0.0).to(tl.float32)
    sigmoid = 1 / (1 + tl.exp(-gate))
    found = tl.join(grad * up * sigmoid * (1 + gate * (1 - sigmoid)), grad * gate * sigmoid)
    tl.store(found_at + j, tl.reshape(found, [2 * E]).to(found_at.dtype.element_ty), j < 2 * count)
