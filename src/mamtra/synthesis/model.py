"""A model directory as the rest of the package uses it: its parts by name, each loaded when first used."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from mamtra.checkpoints.model_files import find_beside
from mamtra.checkpoints.native import load_part
from mamtra.checkpoints.provenance import needs_distillation
from mamtra.engine.engine import Engine
from mamtra.engine.state_pool import stream_bytes
from mamtra.engine.stats import EngineStats
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.synthesis.hearing import TorchHearing
from mamtra.synthesis.hop_engine import HopEngine, hops_fit
from mamtra.synthesis.model_directory import ModelDirectory
from mamtra.voices.voice import Arrays, Voice

_ONNX = {"speech_tokenizer": "OnnxSpeechTokenizer", "speaker_encoder": "OnnxSpeakerEncoder"}
"""Parts that may be ONNX files, SECTION.onnx in the directory."""

CAPACITY = {"cuda": 4096}
"""Positions of a stream by the kind of device: on a GPU, where they are taken at the start, those of a prompt of 30 s and the
longest sentence of CosyVoice 2 (2,600), and some more."""
LARGEST = 2**16


class Model(ModelDirectory):
    """A model directory with lazily loaded parts.

    Speaking with a stored voice uses neither the speech tokenizer nor the speaker encoder, so these cost nothing until a voice
    is cloned. A part is loaded once, even when several threads ask for it.

    Args:
        directory: a model directory (see `mamtra.checkpoints.native`).
        device: where parts go.
        dtype: type of the weights of the LM; the other parts compute in float32.
        parts: networks to use instead of those in the files, by section; they are used as they are.

    Attributes:
        arrays: whose arrays its voices hold.
        alignment_graphs: of `mamtra.engine.alignment.text_attention`.
    """

    arrays: Arrays = "torch"

    def __init__(
        self,
        directory: str | os.PathLike,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        parts: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__(directory)
        self.device, self.dtype = torch.device(device), dtype
        self._parts: dict[str, nn.Module] = dict(parts or {})
        self._engine: Engine | None = None
        self._hop_engine: HopEngine | None = None
        self.alignment_graphs = GraphCache(self.device, capacity=16)

    @property
    def mel_high(self) -> float:
        """Upper edge in Hz of the mel that flow and vocoder were trained with."""
        return float(self.config.get("mel_high", 8000))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Sections of the parts that are loaded."""
        return tuple(self._parts)

    def part(self, section: str) -> nn.Module:
        """A part by section, loaded on first use.

        Raises:
            MamTraError: see `load_part`.
        """
        with self._lock:
            if section not in self._parts:
                part = self._load(section).to(self.device)
                if section == "lm" and self.device.type == "cuda":
                    part.text_to_host()
                if section in ("flow", "vocoder") and (graphs := self._graph_cache()) is not None:
                    part.use_graphs(graphs)
                self._parts[section] = part
            return self._parts[section]

    @property
    def lm(self) -> nn.Module:
        """The speech LM."""
        return self.part("lm")

    @property
    def engine(self) -> Engine:
        """The decode engine of the LM, one for all threads; made on first use."""
        with self._lock:
            if self._engine is None:
                known = self.lm.config.num_speech_tokens
                silent = tuple(token for token in self.generation.silent_tokens if token < known)
                capacity = CAPACITY.get(self.device.type, LARGEST)
                self._engine = Engine(self.lm, slots=None, capacity=capacity, silent_ids=silent)
            return self._engine

    @property
    def decoding(self) -> EngineStats:
        """Runs of the LM and their memory now."""
        return EngineStats() if self._engine is None else self._engine.stats()

    def run_bytes(self, positions: int) -> int:
        """Memory that a run of the LM of so many positions takes; on a GPU none, since its slots are taken at the start."""
        return 0 if self.device.type == "cuda" else stream_bytes(self.lm.config, positions, self.dtype)

    @property
    def joins_hops(self) -> bool:
        """See `ModelDirectory.joins_hops`."""
        return self.device.type == "cuda" and self.generation.flow_history > 0

    def warm_up(self, voices: Sequence[Voice]) -> None:
        """See `ModelDirectory.warm_up`."""
        if self.device.type == "cuda":
            self.engine.warm_up()
        if self.hop_engine is not None:
            self.hop_engine.warm_up(voices)

    @property
    def hop_engine(self) -> HopEngine | None:
        """The engine of hops of streams, one for all threads; made on first use.

        There is one on a GPU, where the flow and the vocoder are of CosyVoice 2's kind and `flow_history` is bounded.
        """
        if not self.joins_hops:
            return None
        with self._lock:
            if self._hop_engine is None and hops_fit(self.flow, self.vocoder):
                self._hop_engine = HopEngine.of(self.flow, self.vocoder, self.generation)
            return self._hop_engine

    @property
    def flow(self) -> nn.Module:
        """Speech tokens to mel."""
        return self.part("flow")

    @property
    def vocoder(self) -> nn.Module:
        """Mel to waveform."""
        return self.part("vocoder")

    @property
    def speech_tokenizer(self) -> nn.Module:
        """Audio to speech tokens."""
        return self.part("speech_tokenizer")

    @property
    def speaker_encoder(self) -> nn.Module:
        """Filter banks to a speaker embedding."""
        return self.part("speaker_encoder")

    @property
    def limits(self) -> tuple[int, int, int]:
        """See `mamtra.synthesis.pipeline.Speaks`."""
        lm = self.lm.config
        return lm.text_vocab_size, lm.num_speech_tokens, self.flow.config.spk_embed_dim

    @property
    def hearing(self) -> TorchHearing:
        """Its parts that listen."""
        return TorchHearing(self)

    def _graph_cache(self) -> GraphCache | None:
        """Captured graphs for the flow or the vocoder: on CUDA from the moment it is loaded, elsewhere none."""
        return GraphCache(self.device) if self.device.type == "cuda" else None

    def _load(self, section: str) -> nn.Module:
        if section in _ONNX and section not in self.config:
            path = find_beside(self.directory, f"{section}.onnx")
            if path.is_file():
                return getattr(importlib.import_module("mamtra.encoders.onnx"), _ONNX[section])(path)
        if section == "lm" and needs_distillation(self.directory):
            warnings.warn(
                f"The hybrid {self.name} has not been distilled, so it babbles; train it with `mamtra distill`.",
                stacklevel=2,
            )
        return load_part(self.directory, section, self.dtype if section == "lm" else torch.float32)
