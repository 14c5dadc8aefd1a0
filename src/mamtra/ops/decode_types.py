"""Arguments of the decode operations that are more than one tensor, shared by each reference and its kernels."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

WeightType = Literal["int8", "fp8"]
_LARGEST = {"int8": 127.0, "fp8": 448.0}


class Normed(NamedTuple):
    """The input of a product behind an RMS norm, as the kernel before leaves it.

    Attributes:
        x: (B, in), the vector times the norm's weight; divided by its root mean square already where there are no ``squares``.
        squares: (B, parts) float32, partial sums of squares of the vector, or None.
    """

    x: Tensor
    squares: Tensor | None


class MambaWeights(NamedTuple):
    """What the mixer has besides its two projections.

    Attributes:
        taps: (channels, K) of the convolution over x, B and C; contiguous.
        conv_bias: (channels,).
        dt_bias: (heads,).
        A_log: (heads,).
        D: (heads,).
        norm_weight: (heads * head_dim,).
        eps: of the norm.
        discrete: the form ``"discrete"`` of `mamtra.models.mamba.MambaMixer`.
    """

    taps: Tensor
    conv_bias: Tensor
    dt_bias: Tensor
    A_log: Tensor
    D: Tensor
    norm_weight: Tensor
    eps: float
    discrete: bool = False


class ScaledWeight(NamedTuple):
    """A matrix in eight bits.

    Attributes:
        values: (out, in) int8 or float8_e4m3fn.
        scale: (out,) float32, of each row.
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor, kind: WeightType) -> ScaledWeight:
        """Round a matrix (out, in), so that the largest value of a row is the largest that eight bits hold."""
        wide = weight.detach().float()
        scale = wide.abs().amax(1).clamp_min(1e-12) / _LARGEST[kind]
        wide = wide / scale[:, None]
        return cls(wide.round().to(torch.int8) if kind == "int8" else wide.to(torch.float8_e4m3fn), scale)

    def wide(self, dtype: torch.dtype) -> Tensor:
        """The matrix (out, in) in another type."""
        return (self.values.float() * self.scale[:, None]).to(dtype)


def values_of(weight: Tensor | ScaledWeight) -> Tensor:
    """(out, in), as they lie in memory."""
    return weight.values if isinstance(weight, ScaledWeight) else weight
