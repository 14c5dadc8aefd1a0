"""Vectors of the original CosyVoice 2 code: a directory that says its sizes itself, and how far we are from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.checkpoints.cosyvoice.files import find_settings
from mamtra.checkpoints.cosyvoice.parts import load_flow, read_generation
from mamtra.checkpoints.cosyvoice.vocoder_sizes import read_vocoder_sizes
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.engine.sampling import ras_sample
from mamtra.models.sampling_config import RASConfig
from mamtra.models.speech_lm import SpeechLM


class Vectors:
    """A folder of vectors and the model they were made with.

    Args:
        root: the folder, with index.json.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index: dict[str, Any] = json.loads((root / "index.json").read_text(encoding="utf-8"))
        self.directory = root / self.index["name"]

    def __getitem__(self, group: str) -> dict[str, Tensor]:
        """Tensors of a group by name."""
        return load_file(self.root / f"{group}.safetensors")

    @cached_property
    def settings(self) -> Settings:
        """Of the model directory."""
        return Settings(find_settings(self.directory))

    @cached_property
    def layout(self) -> dict[str, Any]:
        """Arguments of the layouts of sequences that depend on the model: ids of end and fill, and the mix of a chunk."""
        config = open_language_model(self.directory).config
        return {"eos_id": config.eos_id, "fill_id": config.fill_id, "mix": config.mix_ratio}

    @cached_property
    def sampler(self) -> Callable[..., int]:
        """Repetition-aware sampling with the settings of the model."""
        said = read_generation(self.settings)
        return partial(ras_sample, config=RASConfig(**{name: getattr(said, name) for name in RASConfig.model_fields}))

    def mels(self) -> Iterator[tuple[dict[str, Tensor], Flow, bool, bool]]:
        """Every pass of the flow: its vectors, the flow, whether attention is masked by chunks, whether the tokens are the last
        ones. The name of a group says the size of its chunks where it is not the model's."""
        for group, about in self.index["groups"].items():
            if group.startswith("flow_") and "mel" in about["tensors"]:
                chunk = re.search(r"_chunk(\d+)", group)
                flow = self.flow(int(chunk[1]) if chunk else None)
                yield self[group], flow, group.startswith("flow_stream_"), "lookahead" not in group

    def lm(self) -> SpeechLM:
        """The language model."""
        stored = open_language_model(self.directory)
        lm = SpeechLM(stored.config).eval()
        lm.load_state_dict({name: stored.read(name) for name in stored.names})
        return lm

    def flow(self, chunk: int | None = None) -> Flow:
        """The flow, with the model's chunk size or another."""
        flow = load_flow(self.directory, self.settings)
        if chunk is not None:
            weights = flow.state_dict()
            flow = Flow(flow.config.model_copy(update={"chunk_size": chunk}))
            flow.load_state_dict(weights)
        return flow.eval()

    def vocoder(self) -> HiFT:
        """The vocoder with its weight norm."""
        vocoder = HiFT(read_vocoder_sizes(self.settings, HiFTConfig))
        state = torch.load(self.directory / "hift.pt", weights_only=True)
        vocoder.load_state_dict({name.removeprefix("generator."): value for name, value in state.items()})
        return vocoder.eval()

    def speaker_encoder(self) -> CAMPPlus:
        """The narrow speaker encoder."""
        sizes, weights = self.index["config"]["cam"], self["campplus_weights"]
        width = len(weights["xvector.dense.linear.weight"])
        encoder = CAMPPlus(
            CAMPPlusConfig(growth_rate=sizes["growth"], init_channels=sizes["init"], embedding_size=width)
        )
        encoder.load_state_dict(weights)
        return encoder.eval()


def distance(ours: Any, theirs: Any) -> tuple[float, float]:
    """How far two results of one shape are apart, and the size of theirs.

    Returns:
        for floating point the greatest absolute difference and the greatest absolute value; for whole numbers and other
        sequences how many entries differ, and how many there are.
    """
    if isinstance(ours, Sequence) and not isinstance(ours, str):
        assert len(ours) == len(theirs), f"{len(ours)} entries, not {len(theirs)}"
        return float(sum(a != b for a, b in zip(ours, theirs, strict=True))), float(len(theirs))
    one, other = (np.asarray(value.detach() if isinstance(value, Tensor) else value) for value in (ours, theirs))
    assert one.shape == other.shape, f"shape {one.shape}, not {other.shape}"
    if one.dtype.kind != "f":
        return float((one != other).sum()), float(other.size)
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(np.abs(one - other).max(initial=0)), float(np.abs(other).max(initial=0))
