"""Speech tokens from text, one at a time: `mamtra.engine.generate` over the graph of `mamtra.light.lm_graph`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.lm_graph import build_lm, rope_table, state_shapes
from mamtra.light.random import Generator
from mamtra.light.sampler import ras_sample
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights

_IN_PLACE = ("key", "value")


class LightLM:
    """The language model.

    Args:
        path: its weights.
        config: section of config.json.
        threads: of its session; a step is too short for a second one to help.
        products: see `mamtra.light.graph.Products`.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], threads: int = 1, products: Products = "blocks") -> None:
        self.config = config
        self._weights = StoredWeights(path)
        graph = GraphBuilder("lm", self._weights, products)
        build_lm(graph, config)
        self.session = open_session(graph, threads)

    def embed(self, table: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows (n, hidden_size) float32 of ``text``, ``speech`` or ``marks`` (0 sos, 1 task)."""
        name = {"text": "model.embed_tokens", "speech": "speech_embedding", "marks": "llm_embedding"}[table]
        return self._weights.rows(f"{name}.weight", np.asarray(ids, np.int64))

    def start(self, x: np.ndarray, more: int) -> tuple[LMState, np.ndarray]:
        """Run embedded inputs (L, hidden_size), and leave room for `more` positions.

        Returns:
            The state after them, and the logits (ids,) float32 of what follows.
        """
        state = LMState(self, len(x) + more)
        return state, state.prefill(x)


class LMState:
    """A sequence that is being decoded.

    Args:
        lm: the model.
        capacity: greatest number of positions.
    """

    def __init__(self, lm: LightLM, capacity: int) -> None:
        self._session = lm.session
        self._length = 0
        shapes = state_shapes(lm.config, capacity)
        first = {name: _value(np.zeros(shape, np.float32)) for name, shape in shapes.items()}
        second = {
            name: value if name.startswith(_IN_PLACE) else _value(np.zeros(shapes[name], np.float32))
            for name, value in first.items()
        }
        self._after, self._total = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._logits = np.zeros((1, lm.config["speech_vocab_size"]), np.float32)
        self._input = np.zeros((1, 1, lm.config["hidden_size"]), np.float32)
        tables = dict(zip(("cos", "sin"), rope_table(lm.config, capacity), strict=True))
        self._shared = {name: _value(table) for name, table in tables.items()}
        self._shared |= {"after": _value(self._after), "total": _value(self._total)}
        self._out = _value(self._logits)
        self._turns = [self._bind(self._input, *pair) for pair in ((second, first), (first, second))]
        self._prefill = (first, second)

    def prefill(self, x: np.ndarray) -> np.ndarray:
        """Run the first inputs (L, hidden_size); logits (ids,) of what follows, which the next call overwrites."""
        self._advance(len(x))
        binding, _ = self._bind(np.ascontiguousarray(x[None]), *self._prefill)
        self._session.run_with_iobinding(binding)
        return self._logits[0]

    def step(self, x: np.ndarray) -> np.ndarray:
        """Run one more input (hidden_size,); logits as in `prefill`."""
        self._advance(1)
        self._input[0, 0] = x
        self._session.run_with_iobinding(self._turns[0][0])
        self._turns.reverse()
        return self._logits[0]

    def _advance(self, count: int) -> None:
        self._length += count
        self._after[0], self._total[()] = self._length - 1, self._length

    def _bind(self, x: np.ndarray, past: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[ort.IOBinding, Any]:
        binding, value = self._session.io_binding(), _value(x)
        for name, given in {"x": value, **self._shared, **past}.items():
            binding.bind_ortvalue_input(name, given)
        for name, made in new.items():
            binding.bind_ortvalue_output(f"new.{name}", made)
        binding.bind_ortvalue_output("logits", self._out)
        return binding, value  # the value lives as long as the binding is used


def _value(array: np.ndarray) -> ort.OrtValue:
    """A view of an array, which must outlive it."""
    return ort.OrtValue.ortvalue_from_numpy(array)


class LightGeneration(Iterator[int]):
    """A running generation; the rules are those of `mamtra.engine.generate.generate`.

    Args:
        lm: the model.
        text_ids: ids of the text to speak; only they count for the lengths.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        generator: of the sampler.
        settings: of the sampler and the lengths.

    Attributes:
        tokens: all tokens so far.
        finish_reason: ``eos``, ``length``, or None while tokens are still to come.
    """

    def __init__(
        self,
        lm: LightLM,
        text_ids: Sequence[int],
        prompt_text_ids: np.ndarray,
        prompt_speech: np.ndarray,
        generator: Generator,
        settings: GenerationConfig,
    ) -> None:
        self.tokens: list[int] = []
        self.finish_reason: str | None = None
        self._lm, self._generator, self._settings = lm, generator, settings
        self._bounds = int(len(text_ids) * settings.min_ratio), int(len(text_ids) * settings.max_ratio)
        text = [*(int(i) for i in prompt_text_ids), *text_ids]
        sos, task = lm.embed("marks", [0, 1])[:, None]
        inputs = np.concatenate([sos, lm.embed("text", text), task, lm.embed("speech", prompt_speech)])
        self._state, self._logits = lm.start(inputs, self._bounds[1])

    def __next__(self) -> int:
        shortest, longest = self._bounds
        count, end = len(self.tokens), self._lm.config["eos_id"]
        if self.finish_reason is None and count >= longest:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            raise StopIteration
        if count:
            self._logits = self._state.step(self._lm.embed("speech", self.tokens[-1:])[0])
        if count < shortest:
            self._logits[end] = -np.inf
        token = ras_sample(self._logits, self.tokens, self._generator, self._settings)
        if token >= end:
            self.finish_reason = "eos"
            raise StopIteration
        self.tokens.append(token)
        return token
