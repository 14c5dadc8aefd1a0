"""States of some of the language model's layers, and the session that computes these layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnxruntime as ort

from mamtra.light.lm_graph import state_shapes

if TYPE_CHECKING:
    from mamtra.light.lm import LightLM

IN_PLACE = ("key", "value")
"""States of which the new one has the buffer of the old one."""


class Layers(NamedTuple):
    """Some of the layers, one after the other."""

    session: ort.InferenceSession
    numbers: range
    followed: bool
    """Whether the head that is followed is in one of them."""


class LMPart:
    """States of some layers, of several sequences, a row each.

    Args:
        lm: the model.
        layers: whose states.
        count: of rows.
        capacity: greatest number of positions of a sequence.
        tables: see `mamtra.light.lm_graph.rope_table`.
        queries: where the queries (count, head_dim) of the head that is followed go.

    Attributes:
        places: two states by name; keys and values are the same in both.
    """

    def __init__(
        self,
        lm: LightLM,
        layers: Layers,
        count: int,
        capacity: int,
        tables: tuple[np.ndarray, np.ndarray],
        queries: np.ndarray,
    ) -> None:
        self._layers, self._tables, self._queries = layers, tables, queries
        shapes = state_shapes(lm.config, capacity, count, layers.numbers)
        first = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        # not zeros_like, which writes to all rows
        second = {name: a if name.startswith(IN_PLACE) else np.zeros(a.shape, a.dtype) for name, a in first.items()}
        self.places, self._at = (first, second), 0
        self._after, self._total = np.zeros(count, np.int32), np.zeros((), np.int32)
        self._steps: dict[tuple[int, int], ort.IOBinding] = {}
        self._values: dict[tuple[int, int], dict[str, ort.OrtValue]] = {}

    def run(self, x: np.ndarray, made: np.ndarray, before: np.ndarray) -> None:
        """Take in more inputs of the first rows.

        Args:
            x: (n, L, hidden_size), or what earlier layers made of it.
            made: where the outputs go: (n, L, 2 hidden_size) for the layers that follow, or logits (n, ids).
            before: (n,) positions of each row before this call.
        """
        self._run(self._bind(x, made), x, before)

    def step(self, x: np.ndarray, made: np.ndarray, before: np.ndarray) -> None:
        """As `run`, of one input a row; inputs and outputs lie where they lay in earlier calls with as many rows."""
        key = len(x), self._at
        if key not in self._steps:
            self._steps[key] = self._bind(x, made)
        self._run(self._steps[key], x, before)

    def copy(self, row: int, other: LMPart, source: int, length: int) -> None:
        """Make a row what a row of the same or other states is, after so many positions."""
        theirs, ours = other.places[other._at], self.places[self._at]
        for name, values in theirs.items():
            if name.startswith(IN_PLACE):
                ours[name][row, :, :length] = values[source, :, :length]
            else:
                ours[name][row] = values[source]

    def _run(self, binding: ort.IOBinding, x: np.ndarray, before: np.ndarray) -> None:
        after = before + np.int32(x.shape[1])
        self._after[: len(x)] = after - 1
        self._total[()] = after.max()
        self._layers.session.run_with_iobinding(binding)
        self._at = 1 - self._at

    def _bind(self, x: np.ndarray, made: np.ndarray) -> ort.IOBinding:
        """A call that reads moving states from one of the two places and writes them to the other."""
        rows, binding = len(x), self._layers.session.io_binding()
        past, new = self._states(self._at, rows), self._states(1 - self._at, rows)
        given = {"x": x}
        if any(name.startswith(IN_PLACE) for name in past):
            given |= {"after": self._after[:rows], "total": self._total}
            given |= dict(zip(("cos", "sin"), self._tables, strict=True))
        results = {"logits" if made.ndim == 2 else "hidden": made}
        if self._layers.followed:
            results["query"] = self._queries[:rows]
        for name, value in (past | _values(given)).items():
            binding.bind_ortvalue_input(name, value)
        for name, value in ({f"new.{name}": value for name, value in new.items()} | _values(results)).items():
            binding.bind_ortvalue_output(name, value)
        return binding

    def _states(self, place: int, rows: int) -> dict[str, ort.OrtValue]:
        """Those of the first rows in one of the two places."""
        if (place, rows) not in self._values:
            self._values[place, rows] = _values({name: each[:rows] for name, each in self.places[place].items()})
        return self._values[place, rows]


def _values(arrays: dict[str, np.ndarray]) -> dict[str, ort.OrtValue]:
    return {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
