"""A model directory computed by ONNX Runtime: its parts by name, each loaded when first used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from mamtra.checkpoints.model_files import find_beside
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from mamtra.light.cpu import has_dot_products
from mamtra.light.graph import Products
from mamtra.synthesis.model_directory import ModelDirectory
from mamtra.voices.voice import Arrays

if TYPE_CHECKING:
    from mamtra.light.flow import LightFlow
    from mamtra.light.lm import LightLM
    from mamtra.light.vocoder import LightVocoder

P = TypeVar("P")
_CLONING = "Making a voice from a recording needs torch; pip install 'mamtra[torch]', and leave out the runtime onnx."


class LightModel(ModelDirectory):
    """A model directory with lazily loaded parts; what speaking asks of `mamtra.synthesis.model.Model`, without torch.

    Args:
        directory: a model directory (see `mamtra.checkpoints.native`) that `mamtra.light.choice.obstacle` finds nothing against.
        threads: of the flow and the vocoder; the language model uses one.
        exact: compute with weights unpacked to float32, for comparisons; by default the flow multiplies int8 weights as they are.
        int8_lm: multiply the int8 weights of the language model as they are too, which is faster and changes the tokens.

    Attributes:
        arrays: whose arrays its voices hold.
    """

    arrays: Arrays = "numpy"

    def __init__(
        self, directory: str | os.PathLike, *, threads: int | None = None, exact: bool = False, int8_lm: bool = False
    ) -> None:
        super().__init__(directory)
        self._threads = threads or min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self._exact, self._lm_products = exact, cast(Products, "blocks" if int8_lm else "float")
        self._parts: dict[str, Any] = {}

    @property
    def limits(self) -> tuple[int, int, int]:
        """See `mamtra.synthesis.pipeline.Speaks`."""
        lm, flow = self.config["lm"], self.config["flow"]
        return lm["text_vocab_size"], lm["num_speech_tokens"], flow["spk_embed_dim"]

    @property
    def lm(self) -> LightLM:
        """The speech LM."""
        from mamtra.light.lm import LightLM

        return self._part("lm", lambda: LightLM(*self._stored("lm"), products=self._lm_products))

    @property
    def flow(self) -> LightFlow:
        """Speech tokens to mel."""
        from mamtra.light.flow import LightFlow

        options = {"threads": self._threads, "products": self._products("rows" if has_dot_products() else "float")}
        return self._part("flow", lambda: LightFlow(*self._stored("flow"), self.generation.flow_steps, **options))

    @property
    def vocoder(self) -> LightVocoder:
        """Mel to samples."""
        from mamtra.light.vocoder import LightVocoder

        return self._part("vocoder", lambda: LightVocoder(*self._stored("vocoder"), threads=self._threads))

    def part(self, section: str) -> Any:
        """A part by section, as of `mamtra.synthesis.model.Model`.

        Raises:
            MamTraError: it is damaged, or one that needs torch.
        """
        if section not in ("lm", "flow", "vocoder"):
            raise MamTraError(_CLONING)
        return getattr(self, section)

    def encode_reference(self, wave: np.ndarray, rate: int, *, gate: bool) -> tuple[Any, Any, Any, list[str]]:
        """What a voice takes from a recording: not without torch.

        Raises:
            MamTraError: always.
        """
        raise MamTraError(_CLONING)

    def _products(self, fast: Products) -> Products:
        return "float" if self._exact else fast

    def _stored(self, section: str) -> tuple[Path, dict[str, Any]]:
        return find_beside(self.directory, PARTS[section].file), self.config[section]

    def _part(self, name: str, make: Callable[[], P]) -> P:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            return self._parts[name]
