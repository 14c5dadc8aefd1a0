"""Arguments of the decode operations that are more than one tensor, shared by each reference and its kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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
