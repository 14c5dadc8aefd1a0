"""The random numbers of torch's CPU generator, without torch: the same seed gives both runtimes the same draws.

The generator is a Mersenne Twister (Matsumoto and Nishimura 1998), and so is Python's, which is there already; numpy's would have
to be imported. An exponential number is the logarithm of a uniform double, which takes two 32-bit numbers and keeps 53 bits.
Normal numbers are made 16 at a time from 16 uniform float32 numbers of 24 bits (Box and Muller 1958), eight of them for the
radius and eight for the angle; where the count is no multiple of 16, the last 16 are made anew.
"""

from __future__ import annotations

import math
import random

import numpy as np

_BLOCK = 16
_SIZE = 624
"""Words of the state."""
_AT_ONCE = 1024
"""Words that are drawn by one call; a number of so many bytes takes more time than many short ones."""


class Generator:
    """``torch.Generator().manual_seed(seed)``.

    Args:
        seed: of which the lower 32 bits count.
    """

    def __init__(self, seed: int) -> None:
        state = [seed & 0xFFFFFFFF]
        for place in range(1, _SIZE):
            state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + place) & 0xFFFFFFFF)
        self._bits = random.Random()
        self._bits.setstate((3, (*state, _SIZE), None))

    def words(self, count: int) -> np.ndarray:
        """Numbers (count,) of 32 bits, uint32."""
        sizes = [_AT_ONCE] * (count // _AT_ONCE) + [count % _AT_ONCE]
        return np.frombuffer(b"".join(self._bits.randbytes(4 * size) for size in sizes), "<u4")

    def exponential(self, count: int) -> np.ndarray:
        """``torch.empty(count).exponential_()``, (count,) float32, equal up to rounding."""
        high, low = self.words(2 * count).astype(np.uint64).reshape(count, 2).T
        uniform = ((high << np.uint64(32) | low) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
        return -np.log1p(-uniform).astype(np.float32)

    def normal(self, count: int) -> np.ndarray:
        """``torch.randn(count)``, (count,) float32, equal up to rounding.

        Fewer than 16 numbers follow another rule in torch and are not offered: ask for 16 and take the first.
        """
        raw = self._floats(max(count, _BLOCK))
        whole = len(raw) // _BLOCK * _BLOCK
        raw[:whole] = _box_muller(raw[:whole])
        if whole < len(raw):
            raw[-_BLOCK:] = _box_muller(self._floats(_BLOCK))
        return raw[:count]

    def _floats(self, count: int) -> np.ndarray:
        raw = self.words(count) & np.uint32(0xFFFFFF)
        return raw.astype(np.float32) * np.float32(2.0**-24)


def normal_rows(seed: int, rows: int, length: int, used: int) -> np.ndarray:
    """The first columns of ``torch.randn(rows, length)``, (rows, used) float32; `rows * length` is a multiple of 16."""
    generator, together = Generator(seed), _BLOCK // math.gcd(length, _BLOCK)  # so many rows are whole blocks
    made = np.empty((rows, used), np.float32)
    # only the blocks that hold a used number are worth their logarithms
    first = np.arange(together) * length // _BLOCK
    last = (np.arange(together) * length + used + _BLOCK - 1) // _BLOCK
    blocks = np.concatenate([np.arange(*bounds) for bounds in zip(first, last, strict=True)])
    for row in range(0, rows, together):
        raw = generator._floats(together * length).reshape(-1, _BLOCK)
        raw[blocks] = _box_muller(raw[blocks].reshape(-1)).reshape(-1, _BLOCK)
        made[row : row + together] = raw.reshape(together, length)[:, :used]
    return made


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    halves = uniform.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - halves[:, 0]))
    angle = np.float32(2 * np.pi) * halves[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
