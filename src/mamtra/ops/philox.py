"""Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a function of seed and counter, without a state."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
_KEYS = 0x9E3779B9, 0xBB67AE85
_FACTORS = 0xD2511F53, 0xCD9E8D57
_LOW = 0xFFFFFFFF


def philox_uniform(seed: Tensor, counter: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent numbers, uniform in [0, 1), for each pair of a seed and a counter.

    Equal arguments give equal numbers on every device; `philox_uniform_naive` is the same for Python integers.

    Args:
        seed: (...) int64, the key, all 64 bits used.
        counter: (...) int64 or int32, 0 .. 2^31 - 1.

    Returns:
        Two tensors (...) float32, multiples of 2^-24.
    """
    low, high = seed & _LOW, (seed >> 32) & _LOW
    c0, c1 = counter.to(torch.int64), torch.zeros_like(seed)
    c2, c3 = c1, c1
    for _ in range(ROUNDS):
        (h0, l0), (h1, l1) = _product(_FACTORS[0], c0), _product(_FACTORS[1], c2)
        c0, c1, c2, c3 = h1 ^ c1 ^ low, l1, h0 ^ c3 ^ high, l0
        low, high = (low + _KEYS[0]) & _LOW, (high + _KEYS[1]) & _LOW
    return (c0 >> 8).float() * 2.0**-24, (c1 >> 8).float() * 2.0**-24


def _product(factor: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32-bit product, without a 64-bit overflow."""
    by_low, by_high = x * (factor & 0xFFFF), x * (factor >> 16)
    middle = (by_low >> 16) + (by_high & 0xFFFF)
    return (by_high >> 16) + (middle >> 16), ((middle & 0xFFFF) << 16) | (by_low & 0xFFFF)


def philox_uniform_naive(seed: int, counter: int) -> tuple[float, float]:
    """`philox_uniform` of one pair in Python integers."""
    key = [seed & _LOW, (seed >> 32) & _LOW]
    c = [counter & _LOW, 0, 0, 0]
    for _ in range(ROUNDS):
        first, second = _FACTORS[0] * c[0], _FACTORS[1] * c[2]
        c = [(second >> 32) ^ c[1] ^ key[0], second & _LOW, (first >> 32) ^ c[3] ^ key[1], first & _LOW]
        key = [(k + more) & _LOW for k, more in zip(key, _KEYS, strict=True)]
    return (c[0] >> 8) * 2.0**-24, (c[1] >> 8) * 2.0**-24
