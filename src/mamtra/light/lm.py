"""The language model over the graph of `mamtra.light.lm_graph`, and the state of a sequence that it decodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from mamtra.engine.stats import EngineStats
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.lm_graph import build_lm, rope_table, state_shapes
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights
from mamtra.runtime.living import Living

_IN_PLACE = ("key", "value")


class LightLM:
    """The language model.

    Args:
        path: its weights.
        config: section of config.json.
        threads: of its session; a step is too short for a second one to help.
        products: see `mamtra.light.graph.Products`.
        head: an attention layer and the number of a head in it, which `LMState.attention` is to follow.

    Attributes:
        guarded: draws from which a guard has kept a token.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        threads: int = 1,
        products: Products = "blocks",
        head: tuple[int, int] | None = None,
    ) -> None:
        self.config, self.products, self.head = config, products, head
        self.guarded = 0
        self._weights = StoredWeights(path)
        graph = GraphBuilder("lm", self._weights, products, unpacked=True)
        build_lm(graph, config, head)
        self.session = open_session(graph, threads)
        self._states: Living[LMState] = Living()

    def begun(self, state: LMState) -> None:
        """Told every state that is made."""
        self._states.add(state)

    def stats(self) -> EngineStats:
        """Sequences that are being decoded, and their memory."""
        states = [state for state, _ in self._states.all()]
        memory = sum(s.kv_bytes for s in states), sum(s.state_bytes for s in states)
        return EngineStats(len(states), 0, *memory, self.guarded)

    def embed(self, table: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows (n, hidden_size) float32 of ``text``, ``speech`` or ``marks`` (0 sos, 1 task)."""
        name = {"text": "model.embed_tokens", "speech": "speech_embedding", "marks": "llm_embedding"}[table]
        return self._weights.rows(f"{name}.weight", np.asarray(ids, np.int64))


class LMState:
    """A sequence that is being decoded.

    Args:
        lm: the model.
        capacity: greatest number of positions.

    Attributes:
        kv_bytes: memory of keys and values.
        state_bytes: memory of the other states, which moves between two places.
    """

    def __init__(self, lm: LightLM, capacity: int) -> None:
        self._lm, self._session, self._length = lm, lm.session, 0
        shapes = state_shapes(lm.config, capacity)
        zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.kv_bytes, self.state_bytes = state_bytes(lm.config, capacity)
        lm.begun(self)
        first = {name: _value(array) for name, array in zeros.items()}
        second = {
            name: value if name.startswith(_IN_PLACE) else _value(np.zeros(shapes[name], np.float32))
            for name, value in first.items()
        }
        self._after, self._total = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._input = np.zeros((1, 1, lm.config["hidden_size"]), np.float32)
        self._tables = rope_table(lm.config, capacity)
        self._shared = {name: _value(table) for name, table in zip(("cos", "sin"), self._tables, strict=True)}
        self._shared |= {"after": _value(self._after), "total": _value(self._total)}
        self._logits = np.zeros((1, lm.config["speech_vocab_size"]), np.float32)
        self._outputs = {"logits": _value(self._logits)}
        self._query, self._queries = np.zeros((1, lm.config["head_dim"]), np.float32), list[np.ndarray]()
        if lm.head is not None:
            self._outputs["query"] = _value(self._query)
            groups, heads = lm.config["num_key_value_heads"], lm.config["num_attention_heads"]
            self._keys = zeros[f"key.{lm.head[0]}"][0, lm.head[1] * groups // heads]
        self._capacity, self._places, self._at = capacity, (first, second), 0
        self._steps = [self._bind(self._input, at)[0] for at in (0, 1)]

    def extend(self, x: np.ndarray) -> np.ndarray:
        """Run more inputs (L, hidden_size); logits (ids,) of what follows, which the next call overwrites."""
        if len(x) == 1:
            return self.step(x[0])
        return self._run(self._bind(np.ascontiguousarray(x[None]), self._at)[0], len(x))

    def step(self, x: np.ndarray) -> np.ndarray:
        """Run one more input (hidden_size,); logits as in `extend`."""
        self._input[0, 0] = x
        return self._run(self._steps[self._at], 1)

    def with_room(self, more: int) -> LMState:
        """A state with room for so many more positions: this one, or a copy of twice its size at least."""
        if self._length + more <= self._capacity:
            return self
        grown = LMState(self._lm, max(self._length + more, 2 * self._capacity))
        for name, value in self._places[self._at].items():
            array = value.numpy()
            if name.startswith(_IN_PLACE):
                padded = np.zeros(state_shapes(self._lm.config, grown._capacity)[name], np.float32)
                padded[:, :, : self._length] = array[:, :, : self._length]
                array = padded
            grown._places[0][name].update_inplace(array)
        grown._length = self._length
        return grown

    def attention(self, first: int, last: int) -> np.ndarray:
        """Attention of the head that is followed, to positions from `first` to before `last`.

        Returns:
            (calls, last - first) float32: a row for the last position of each call so far.
        """
        queries, begin = np.stack(self._queries), self._length - len(self._queries)
        cos, sin = (table[begin : self._length] for table in self._tables)
        low, high = np.split(queries, 2, axis=1)
        turned = np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=1)
        # not a product of BLAS, whose threads go on waiting actively and take the cores from the sessions for 30 ms
        scores = np.einsum("qd,kd->qk", turned, self._keys[: self._length]) / np.float32(math.sqrt(queries.shape[1]))
        later = np.arange(self._length) > np.arange(begin, self._length)[:, None]
        scores[later] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (weights / weights.sum(axis=1, keepdims=True))[:, first:last]

    def _run(self, binding: ort.IOBinding, count: int) -> np.ndarray:
        self._length += count
        self._after[0], self._total[()] = self._length - 1, self._length
        self._session.run_with_iobinding(binding)
        self._at = 1 - self._at
        if self._lm.head is not None:
            self._queries.append(self._query[0].copy())
        return self._logits[0]

    def _bind(self, x: np.ndarray, at: int) -> tuple[ort.IOBinding, Any]:
        """A call that reads moving states from one of the two places and writes them to the other."""
        binding, value, past, new = self._session.io_binding(), _value(x), self._places[at], self._places[1 - at]
        for name, given in {"x": value, **self._shared, **past}.items():
            binding.bind_ortvalue_input(name, given)
        for name, made in {**{f"new.{name}": made for name, made in new.items()}, **self._outputs}.items():
            binding.bind_ortvalue_output(name, made)
        return binding, value  # the value lives as long as the binding is used


def state_bytes(config: Mapping[str, Any], capacity: int) -> tuple[int, int]:
    """Memory of a state for so many positions: of keys and values, and of what moves between two places."""
    sizes = [
        (name.startswith(_IN_PLACE), 4 * math.prod(shape)) for name, shape in state_shapes(config, capacity).items()
    ]
    return sum(size for stays, size in sizes if stays), 2 * sum(size for stays, size in sizes if not stays)


def _value(array: np.ndarray) -> ort.OrtValue:
    """A view of an array, which must outlive it."""
    return ort.OrtValue.ortvalue_from_numpy(array)
