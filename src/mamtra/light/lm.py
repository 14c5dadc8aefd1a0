"""The language model over the graph of `mamtra.light.lm_graph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort

from mamtra.engine.stats import EngineStats
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.lm_graph import build_lm
from mamtra.light.lm_part import Layers
from mamtra.light.lm_state import Beginnings, LMRows
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights
from mamtra.runtime.living import Living


class LightLM:
    """The language model. Its sessions are opened on a thread, beside what comes before they are asked for.

    Args:
        weights: its weights.
        config: section of config.json.
        threads: that may compute at a time, at most two: layers of their own each, since a step is too short for a second one.
        products: see `mamtra.light.graph.Products`.
        head: an attention layer and the number of a head in it, which `LMState.attention` is to follow.

    Attributes:
        threads, head: see above.
        guarded: draws from which a guard has kept a token.
        beginnings: states that runs have in common.
    """

    def __init__(
        self,
        weights: StoredWeights,
        config: Mapping[str, Any],
        threads: int = 1,
        products: Products = "blocks",
        head: tuple[int, int] | None = None,
    ) -> None:
        self.config, self.products, self.head, self.threads = config, products, head, threads
        self.guarded = 0
        self._weights = weights
        self._lock, self._parts = Lock(), list[Layers]()
        self._opening = self._open()
        self._states: Living[LMRows] = Living()
        self.beginnings = Beginnings(self)

    @property
    def parts(self) -> list[Layers]:
        """The layers in two halves, of which the later one computes beside the earlier one where there are many inputs."""
        with self._lock:
            if not self._parts:
                opening, self._opening = self._opening or self._open(), []
                layer = self.head[0] if self.head else -1
                self._parts = [Layers(session.result(), numbers, layer in numbers) for session, numbers in opening]
            return self._parts

    def _open(self) -> list[tuple[Future[ort.InferenceSession], range]]:
        count, opening = len(self.config["layer_types"]), list[tuple[Future[ort.InferenceSession], range]]()
        pool = ThreadPoolExecutor(1, "mamtra-open")
        for numbers in filter(None, (range(count // 2), range(count // 2, count))):
            graph = GraphBuilder("lm", self._weights, self.products, folded=True)
            build_lm(graph, self.config, self.head, numbers)
            opening.append((pool.submit(open_session, graph, plain=True), numbers))
        pool.shutdown(wait=False)
        return opening

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
