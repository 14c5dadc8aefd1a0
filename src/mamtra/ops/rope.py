"""Rotary position embedding in the half-split convention of Qwen2 and Llama (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Llama3Scaling:
    """How Llama 3.1 and later scale the wavelengths beyond the context of their pretraining.

    Waves with more than ``high_freq_factor`` periods in the old context stay, those with fewer than
    ``low_freq_factor`` periods become ``factor`` times longer, and those between are interpolated.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def __call__(self, frequencies: Tensor) -> Tensor:
        """Scale angular frequencies (head_dim / 2,)."""
        turns = self.original_max_position_embeddings * frequencies / (2 * math.pi)
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return frequencies * (1 - (1 - 1 / self.factor) * (1 - kept.clamp(0, 1)))


def rope_frequencies(
    head_dim: int, theta: float, scaling: Llama3Scaling | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Angle of each pair of channels per position.

    Args:
        head_dim: size of one head, even.
        theta: base of the wavelengths (1e6 in Qwen2).
        scaling: of the wavelengths.
        device: where they are computed; nothing is copied from the host, so that a CUDA graph can capture it.

    Returns:
        (head_dim / 2,) float32, radians.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    frequencies = theta**-exponent
    return frequencies if scaling is None else scaling(frequencies)


def rope_table(length: int, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of every position.

    The first half of the sine carries a minus sign, so that rotating a vector needs no negation:
    ``x * cos + roll(x, head_dim / 2) * sin``.

    Args:
        length: number of positions, starting at 0.
        frequencies: (head_dim / 2,) from `rope_frequencies`; the tables are on their device.

    Returns:
        ``cos`` and ``sin``, each (length, head_dim) float32.
    """
    angle = torch.arange(length, device=frequencies.device, dtype=torch.float32)[:, None] * frequencies
    sin = angle.sin()
    return torch.cat((angle, angle), -1).cos(), torch.cat((-sin, sin), -1)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each head vector by the angle of its position.

    Args:
        x: (..., head_dim).
        cos: broadcastable to ``x``, from `rope_table`.
        sin: the same, signed.

    Returns:
        The shape and dtype of ``x``.
    """
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, x.roll(half, -1), sin).to(x.dtype)


def rotate_joint(
    joint: Tensor, cos: Tensor, sin: Tensor, heads: int, groups: int, *, use_triton: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Split a joint projection into queries, keys and values and apply RoPE to the first two.

    Args:
        joint: (B, L, (heads + 2 * groups) * head_dim), queries, keys and values side by side.
        cos: (L, head_dim), from `rope_table`.
        sin: the same, signed.
        heads: query heads.
        groups: key/value heads.
        use_triton: wherever gradients are enabled, as one Triton kernel; CUDA devices only.

    Returns:
        q (B, heads, L, head_dim), k and v (B, groups, L, head_dim), in the dtype of ``joint``.
    """
    if use_triton and torch.is_grad_enabled():
        from mamtra.ops.rope_triton import rope_triton  # Triton is installed with CUDA builds only

        q, k, v = rope_triton(joint, cos, sin, heads, groups)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    size = cos.shape[-1]
    parts = joint.split((heads * size, groups * size, groups * size), -1)
    q, k, v = (part.unflatten(-1, (-1, size)).transpose(1, 2) for part in parts)
    return apply_rope(q, cos, sin), apply_rope(k, cos, sin), v
