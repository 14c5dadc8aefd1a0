"""A model directory computed by ONNX Runtime: its parts by name, each loaded when first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mamtra.checkpoints.model_files import part_files
from mamtra.engine.stats import EngineStats
from mamtra.errors import MamTraError
from mamtra.light.cpu import has_dot_products
from mamtra.light.graph import Products
from mamtra.light.weights import StoredWeights
from mamtra.synthesis.coverage import usable_head
from mamtra.synthesis.model_directory import ModelDirectory
from mamtra.voices.voice import Arrays

if TYPE_CHECKING:
    from mamtra.light.flow import LightFlow
    from mamtra.light.hearing import LightHearing
    from mamtra.light.lm import LightLM
    from mamtra.light.vocoder import LightVocoder

P = TypeVar("P")
HEARING = ("speech_tokenizer", "speaker_encoder")
"""Sections of the parts that listen."""


class LightModel(ModelDirectory):
    """A model directory with lazily loaded parts; what speaking asks of `mamtra.synthesis.model.Model`, without torch.

    Args:
        directory: a model directory (see `mamtra.checkpoints.native`) that `mamtra.light.choice.obstacle` finds nothing against.
        threads: of the flow and the vocoder; the language model uses one, or two for many inputs.
        exact: compute with weights unpacked to float32, for comparisons; by default the flow multiplies int8 weights as they are.
        int8_lm: multiply the int8 weights of the language model as they are too, which is faster and changes the tokens.

    Attributes:
        threads: see above.
        exact: see above.
        arrays: whose arrays its voices hold.
        device: where it computes.
    """

    arrays: Arrays = "numpy"
    device = "cpu"

    def __init__(
        self, directory: str | os.PathLike, *, threads: int | None = None, exact: bool = False, int8_lm: bool = False
    ) -> None:
        super().__init__(directory)
        self.threads = threads or min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self.exact = exact
        # both kinds of products with int8 weights need the processor's
        self._lm_products = cast(Products, "blocks" if int8_lm and has_dot_products() else "float")
        self._parts: dict[str, Any] = {}
        self._locks: dict[str, threading.RLock] = {}

    @property
    def limits(self) -> tuple[int, int, int]:
        """See `mamtra.synthesis.pipeline.Speaks`."""
        lm, flow = self.config["lm"], self.config["flow"]
        return lm["text_vocab_size"], lm["num_speech_tokens"], flow["spk_embed_dim"]

    @property
    def lm(self) -> LightLM:
        """The speech LM."""
        from mamtra.light.lm import LightLM

        head = usable_head(self.generation.alignment_head, self.config["lm"]["layer_types"])
        options = {"threads": self.threads, "products": self._lm_products, "head": head}
        return self._part("lm", lambda: LightLM(*self._stored("lm"), **options))

    @property
    def decoding(self) -> EngineStats:
        """Runs of the LM and their memory now."""
        lm = self._parts.get("lm")
        return EngineStats() if lm is None else lm.stats()

    def run_bytes(self, positions: int) -> int:
        """Memory that a run of the LM of so many positions takes."""
        from mamtra.light.lm_state import state_bytes

        return sum(state_bytes(self.config["lm"], positions))

    @property
    def flow(self) -> LightFlow:
        """Speech tokens to mel."""
        from mamtra.light.flow import LightFlow

        products = self._products("rows" if has_dot_products() else "float")
        options = {"products": products, "free": not self.exact}
        return self._part("flow", lambda: LightFlow(*self._stored("flow"), self.generation.flow_steps, **options))

    @property
    def vocoder(self) -> LightVocoder:
        """Mel to samples."""
        from mamtra.light.vocoder import LightVocoder

        options = {"threads": self.threads, "near": not self.exact}
        return self._part("vocoder", lambda: LightVocoder(*self._stored("vocoder"), **options))

    @property
    def hearing(self) -> LightHearing:
        """Its parts that listen, for voices of recordings.

        Raises:
            MamTraError: it has none of this package's kind.
        """
        from mamtra.light.hearing import LightHearing

        missing = [name for name in HEARING if name not in self.config]
        if missing:
            raise MamTraError(
                f"The model {self.name} has no {missing[0].replace('_', ' ')} that ONNX Runtime can be given; make the voice "
                "with the runtime torch: pip install 'mamtra[torch]'."
            )
        stored = (self._stored(name) for name in HEARING)
        return self._part("hearing", lambda: LightHearing(*stored, threads=self.threads))

    def part(self, section: str) -> Any:
        """A part by section, as of `mamtra.synthesis.model.Model`.

        Raises:
            MamTraError: it is damaged.
        """
        return self.hearing if section in HEARING else getattr(self, section)

    def _products(self, fast: Products) -> Products:
        return "float" if self.exact else fast

    def weights(self, section: str) -> StoredWeights:
        """The stored weights of a part.

        Raises:
            MamTraError: they are missing or damaged.
        """
        return StoredWeights(*part_files(self.directory, section))

    def _stored(self, section: str) -> tuple[StoredWeights, dict[str, Any]]:
        return self.weights(section), self.config[section]

    def _part(self, name: str, make: Callable[[], P]) -> P:
        with self._lock:
            lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self._parts:
                self._parts[name] = make()
            return self._parts[name]
