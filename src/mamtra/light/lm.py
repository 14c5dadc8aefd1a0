"""The language model over the graph of `mamtra.light.lm_graph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.engine.stats import EngineStats
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.lm_graph import build_lm
from mamtra.light.lm_part import Layers
from mamtra.light.lm_state import Beginnings, LMRows
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights
from mamtra.runtime.living import Living


class LightLM:
    """The language model.

    Args:
        path: its weights.
        config: section of config.json.
        threads: that may compute at a time, at most two: layers of their own each, since a step is too short for a second one.
        products: see `mamtra.light.graph.Products`.
        head: an attention layer and the number of a head in it, which `LMState.attention` is to follow.

    Attributes:
        threads, head: see above.
        parts: the layers in two halves, of which the later one computes beside the earlier one where there are many inputs.
        guarded: draws from which a guard has kept a token.
        beginnings: states that runs have in common.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        threads: int = 1,
        products: Products = "blocks",
        head: tuple[int, int] | None = None,
    ) -> None:
        self.config, self.products, self.head, self.threads = config, products, head, threads
        self.guarded = 0
        self._weights = StoredWeights(path)
        count = len(config["layer_types"])
        halves = range(count // 2), range(count // 2, count)
        self.parts = [self._open(numbers) for numbers in halves if numbers]
        self._states: Living[LMRows] = Living()
        self.beginnings = Beginnings(self)

    def _open(self, numbers: range) -> Layers:
        graph = GraphBuilder("lm", self._weights, self.products, folded=True)
        build_lm(graph, self.config, self.head, numbers)
        return Layers(open_session(graph, plain=True), numbers, self.head is not None and self.head[0] in numbers)

    def begun(self, rows: LMRows) -> None:
        """Told all states that are made."""
        self._states.add(rows)

    def stats(self) -> EngineStats:
        """Sequences that are being decoded, and their memory."""
        states = [state for state, _ in self._states.all() if state.used]
        memory = sum(s.kv_bytes for s in states), sum(s.state_bytes for s in states)
        return EngineStats(sum(s.used for s in states), 0, *memory, self.guarded)

    def embed(self, table: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows (n, hidden_size) float32 of ``text``, ``speech`` or ``marks`` (0 sos, 1 task)."""
        name = {"text": "model.embed_tokens", "speech": "speech_embedding", "marks": "llm_embedding"}[table]
        return self._weights.rows(f"{name}.weight", np.asarray(ids, np.int64))
