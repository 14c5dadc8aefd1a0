"""States of the sequences that the language model decodes, one by one or side by side."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from mamtra.light.lm_graph import rope_table, state_shapes
from mamtra.light.lm_part import IN_PLACE, LMPart

if TYPE_CHECKING:
    from mamtra.light.lm import LightLM

MOST_BEGINNINGS = 8
PIECES, SHORTEST = 3, 16
"""Of many inputs: pieces that they are taken in by, on two threads, and inputs of a piece at least."""


class LMRows:
    """States of several sequences, a row each: a step reads the weights once for all.

    Args:
        lm: the model.
        count: of rows.
        capacity: greatest number of positions of a sequence.

    Attributes:
        count, capacity: see above.
        used: rows of a sequence that is being decoded, which are the first ones.
        lengths: positions of each row so far.
        queries: (count, head_dim) of the head that is followed, at the last position of each row.
        kv_bytes: memory of keys and values.
        state_bytes: memory of the other states, which move between two places.
    """

    def __init__(self, lm: LightLM, count: int, capacity: int) -> None:
        self.lm, self.count, self.capacity, self.used = lm, count, capacity, 1 if count == 1 else 0
        self.lengths = np.zeros(count, np.int32)
        self.queries = np.zeros((count, lm.config["head_dim"]), np.float32)
        self.kv_bytes, self.state_bytes = state_bytes(lm.config, capacity, count)
        self._input = np.zeros((count, 1, lm.config["hidden_size"]), np.float32)
        self._logits = np.zeros((count, lm.config["speech_vocab_size"]), np.float32)
        self._made = [*(np.concatenate([self._input] * 2, axis=2) for _ in lm.parts[1:]), self._logits]
        self.tables = rope_table(lm.config, capacity)
        self._parts = [LMPart(lm, part, count, capacity, self.tables, self.queries) for part in lm.parts]
        lm.begun(self)

    def extend(self, x: np.ndarray) -> np.ndarray:
        """Run more inputs (L, hidden_size) of the only row; logits (ids,) of what follows, which the next call overwrites.

        Many inputs are taken in piece by piece, the later layers of a piece beside the earlier ones of the next.
        """
        if len(x) == 1:
            return self.step(x)[0]
        *first, last = self._parts
        pieces = max(1, min(PIECES, len(x) // SHORTEST)) if self.lm.threads > 1 else 1
        with ThreadPoolExecutor(1, "mamtra-layers") as pool:
            later = list[Future[None]]()
            for piece in np.array_split(np.ascontiguousarray(x[None]), pieces, axis=1):
                given, before = piece, self.lengths.copy()
                for part in first:
                    part.run(given, made := np.concatenate([piece, piece], axis=2), before)
                    given = made
                self.lengths += piece.shape[1]
                if len(later) + 1 < pieces:
                    later.append(pool.submit(last.run, given, self._logits, before))
            for each in later:
                each.result()
            last.run(given, self._logits, before)
        return self._logits[0]

    def step(self, x: np.ndarray) -> np.ndarray:
        """Run one more input (n, hidden_size) of each of the first rows; logits (n, ids) as in `extend`."""
        rows = len(x)
        self._input[:rows, 0] = x
        given = self._input
        for part, made in zip(self._parts, self._made, strict=True):
            part.step(given[:rows], made[:rows], self.lengths[:rows])
            given = made
        self.lengths[:rows] += 1
        return self._logits[:rows]

    def copy(self, row: int, other: LMRows, source: int) -> None:
        """Make a row what a row of the same or other states is."""
        length = int(other.lengths[source])
        for ours, theirs in zip(self._parts, other._parts, strict=True):
            ours.copy(row, theirs, source, length)
        self.lengths[row] = length

    def keys(self, row: int, layer: int, group: int) -> np.ndarray:
        """Keys (positions, head_dim) of a row."""
        [keys] = [part.places[0][name] for part in self._parts if (name := f"key.{layer}") in part.places[0]]
        return keys[row, group, : self.lengths[row]]


class LMState:
    """A sequence that is being decoded, in a row of its own until it is moved.

    Args:
        lm: the model.
        capacity: greatest number of positions.

    Attributes:
        rows: where it is a row of.
    """

    def __init__(self, lm: LightLM, capacity: int) -> None:
        self._lm, self.rows, self._row = lm, LMRows(lm, 1, capacity), 0
        self._queries: list[np.ndarray] = []

    @property
    def capacity(self) -> int:
        """Greatest number of positions."""
        return self.rows.capacity

    def extend(self, x: np.ndarray) -> np.ndarray:
        """Run more inputs (L, hidden_size), in a row of its own; logits (ids,) of what follows, which the next call overwrites."""
        logits = self.rows.extend(x)
        self.ran()
        return logits

    def step(self, x: np.ndarray) -> np.ndarray:
        """Run one more input (hidden_size,); logits as in `extend`."""
        return self.extend(x[None])

    def take(self, other: LMRows) -> None:
        """Become what the only row of other states is."""
        self.rows.copy(self._row, other, 0)

    def ran(self) -> None:
        """Told that its row has been run."""
        if self._lm.head is not None:
            self._queries.append(self.rows.queries[self._row].copy())

    def move(self, rows: LMRows, row: int) -> None:
        """Go on in another row, which has room for it."""
        rows.copy(row, self.rows, self._row)
        self.rows, self._row = rows, row

    def with_room(self, more: int) -> LMState:
        """This state, of twice its size at least where there is no room for so many more positions."""
        needed = int(self.rows.lengths[self._row]) + more
        if needed > self.capacity:
            self.move(LMRows(self._lm, 1, max(needed, 2 * self.capacity)), 0)
        return self

    def attention(self, first: int, last: int) -> np.ndarray:
        """Attention of the head that is followed, to positions from `first` to before `last`.

        Returns:
            (calls, last - first) float32: a row for the last position of each call so far.
        """
        (layer, head), config = self._lm.head, self._lm.config
        queries = np.stack(self._queries)
        keys = self.rows.keys(self._row, layer, head * config["num_key_value_heads"] // config["num_attention_heads"])
        begin = len(keys) - len(queries)
        cos, sin = (table[begin : len(keys)] for table in self.rows.tables)
        low, high = np.split(queries, 2, axis=1)
        turned = np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=1)
        # not a product of BLAS, whose threads go on waiting actively and take the cores from the sessions for 30 ms
        scores = np.einsum("qd,kd->qk", turned, keys) / np.float32(math.sqrt(queries.shape[1]))
        later = np.arange(len(keys)) > np.arange(begin, len(keys))[:, None]
        scores[later] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (weights / weights.sum(axis=1, keepdims=True))[:, first:last]


class Beginnings:
    """States after what the inputs of the latest runs began with: what the prompt of a voice says. Threads may share it.

    Args:
        lm: the model.
    """

    def __init__(self, lm: LightLM) -> None:
        self._lm, self._lock, self._kept = lm, threading.Lock(), OrderedDict[bytes, LMRows]()

    def state(self, x: np.ndarray, capacity: int) -> LMState:
        """A new state for so many positions that has taken in inputs (n, hidden_size)."""
        with self._lock:
            kept = self._kept.pop(x.tobytes(), None)
            if kept is None:
                kept = LMRows(self._lm, 1, len(x))
                kept.extend(x)
                kept.used = 0
            self._kept[x.tobytes()] = kept
            if len(self._kept) > MOST_BEGINNINGS:
                self._kept.popitem(last=False)
        state = LMState(self._lm, capacity)
        state.take(kept)
        return state


def state_bytes(config: Mapping[str, Any], capacity: int, rows: int = 1) -> tuple[int, int]:
    """Memory of states for so many positions: of keys and values, and of what moves between two places."""
    shapes = state_shapes(config, capacity, rows).items()
    sizes = [(name.startswith(IN_PLACE), 4 * math.prod(shape)) for name, shape in shapes]
    return sum(size for stays, size in sizes if stays), 2 * sum(size for stays, size in sizes if not stays)
