"""The noise in the excitation of CosyVoice 3, which is the same for every utterance.

The original draws it once, when the model is made, from the generator that the flow has seeded with 0. So it is found again by
drawing what is drawn before it, in the published sizes: the noise of the flow and the initial weights of the layers in between.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

from mamtra.acoustic.flow_matching import NOISE_FRAMES

BLOCK = 240_000
"""Samples that are drawn at a time: 10 s."""

_NORMALS = (80 * NOISE_FRAMES, 6561 * 80)
"""The noise of the flow and its table of tokens."""
_PREDICTOR = [(512, 80, 4), *[(512, 512, 3)] * 4]
_UNIFORMS = (80 * 192, 80, *(n for shape in _PREDICTOR for n in (math.prod(shape), shape[0])), 512, 1)
"""The speaker projection, and the F0 predictor with its biases."""


class _Tape:
    """Uniform numbers, drawn as far as they were asked for.

    Args:
        harmonics: numbers for each sample.
    """

    def __init__(self, harmonics: int) -> None:
        self._lock = threading.Lock()
        self._generator = torch.Generator().manual_seed(0)
        for count in _NORMALS:
            torch.randn(count, generator=self._generator)
        for count in (*_UNIFORMS, harmonics):  # the last ones are initial phases, which have no effect
            torch.rand(count, generator=self._generator)
        self._harmonics = harmonics
        self._drawn = torch.empty(0, harmonics)

    @torch.inference_mode(False)
    def first(self, samples: int) -> Tensor:
        with self._lock:
            if samples > len(self._drawn):
                # Drawn in blocks, the numbers are those of one long draw.
                wanted = max(samples, 2 * len(self._drawn))
                more = -(-(wanted - len(self._drawn)) // BLOCK) * BLOCK
                fresh = torch.rand(more, self._harmonics, generator=self._generator)
                self._drawn = torch.cat([self._drawn, fresh])
            return self._drawn[:samples]


_tapes: dict[int, _Tape] = {}
_making = threading.Lock()


def fixed_uniform(samples: int, harmonics: int = 9) -> Tensor:
    """The first numbers of the fixed noise.

    Args:
        samples: how many, at 24 kHz.
        harmonics: numbers for each sample; the published models have 9.

    Returns:
        (samples, harmonics) float32 in [0, 1), on the CPU; shared, read-only.
    """
    with _making:
        tape = _tapes.get(harmonics) or _tapes.setdefault(harmonics, _Tape(harmonics))
    return tape.first(samples)
