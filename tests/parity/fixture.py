"""What a parity fixture is: outputs of modules with weights and inputs from a seed, kept small, and how to compare with it.

A case is a generator of `Output`. Of a floating-point tensor a fixture keeps evenly spaced elements and projections of all
elements on random signs, so that a change anywhere shows; integers are kept whole. Weights and inputs are not kept: they come
from `numpy.random.RandomState`, whose streams never change, by name and shape.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "parity"
KEPT, PROJECTIONS = 640, 8


@dataclass
class Output:
    """One output of a case.

    Attributes:
        name: of the output; one that comes twice was computed in two ways, and both must agree.
        value: floating point or integer.
        tolerance: greatest absolute difference; 0 for exact equality.
    """

    name: str
    value: Tensor
    tolerance: float = 0.0


@dataclass(frozen=True)
class Case:
    """A named group of outputs.

    Attributes:
        outputs: computes them.
        vectors: test files whose tests of the original's vectors cover the same code.
    """

    outputs: Callable[[Path], Iterator[Output]]
    vectors: tuple[str, ...]


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))


def normal(name: str, *shape: int) -> Tensor:
    """Standard normal float32 of this shape, always the same for a name."""
    return torch.from_numpy(random_state(name).standard_normal(shape).astype(np.float32))


def integers(name: str, most: int, *shape: int) -> Tensor:
    """int64 in [0, most) of this shape, always the same for a name."""
    return torch.from_numpy(random_state(name).randint(0, most, size=shape).astype(np.int64))


def seeded(module: nn.Module, seed: str) -> nn.Module:
    """Give every weight a value that depends on its name, its shape and the seed alone.

    Matrices keep the scale of their input, biases are about 0, other numbers per channel about 1.
    """
    state = module.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        drawn = normal(f"{seed}/{name}", *value.shape)
        if value.numel() > value.shape[0]:
            drawn = drawn / value[0].numel() ** 0.5
        else:
            drawn = 0.1 * drawn + (0.0 if name.endswith(("bias", "mean")) else 1.0)
        state[name] = drawn
    module.load_state_dict(state)
    return module.eval()


def packed(output: Output) -> dict[str, np.ndarray]:
    """The arrays that stand for an output in a file, by name."""
    value = output.value.detach().cpu()
    if not value.is_floating_point():
        return {output.name: value.numpy().astype(np.int32)}
    flat = value.double().numpy().ravel()
    places = np.linspace(0, len(flat) - 1, min(KEPT, len(flat))).round().astype(np.int64)
    signs = random_state(output.name).randint(0, 2, size=(PROJECTIONS, len(flat))) * 2 - 1
    return {
        output.name: flat[places].astype(np.float32),
        f"{output.name}:projections": signs @ flat / max(1, len(flat)) ** 0.5,
        f"{output.name}:shape": np.array(value.shape, dtype=np.int32),
    }


def difference(output: Output, stored: dict[str, np.ndarray]) -> str:
    """What differs from the stored arrays by more than the tolerance, in words; empty where nothing does."""
    for name, found in reversed(packed(output).items()):
        if name not in stored:
            return f"{name} is not in the fixture"
        wanted = stored[name]
        if found.shape != wanted.shape:
            return f"{name}: shape {found.shape}, not {wanted.shape}"
        if name.endswith(":shape") and not np.array_equal(found, wanted):
            return f"{name} {found}, not {wanted}"
        worst = _worst(found, wanted)
        if not worst <= (output.tolerance if found.dtype.kind == "f" else 0):
            return f"{name}: off by {worst:.3g}, allowed {output.tolerance:g}"
    return ""


def used(output: Output, stored: dict[str, np.ndarray]) -> float:
    """The greatest difference from stored arrays of the same shapes, as a part of the tolerance; 0 where all are equal."""
    worst = max(_worst(found, stored[name]) for name, found in packed(output).items())
    return worst / output.tolerance if worst else 0.0


def _worst(found: np.ndarray, wanted: np.ndarray) -> float:
    return np.abs(found.astype(np.float64) - wanted).max(initial=0)
