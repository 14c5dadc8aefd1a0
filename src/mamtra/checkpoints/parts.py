"""The parts of a model and their classes, which are imported when a part is first needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

LEFT = "base_tensors"
"""Key in the header of a safetensors file: names, with spaces between them, of the tensors that it leaves to the same file of the
base. The entries that belong to a quantised tensor are not named."""
BESIDE = (".scale", ".shape")
"""Endings of the names of such entries, see `mamtra.checkpoints.storage`."""


@dataclass(frozen=True)
class Part:
    """One network of a model: its section in config.json, its file, its classes, and what it is for.

    `others` holds the classes of other architectures, by the name that such a section has as its `architecture`. `speaks` is False
    for a part that synthesis does not need.
    """

    section: str
    file: str
    network: str
    config: str
    purpose: str
    weight_norm: bool = False
    speaks: bool = True
    others: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def parse(self, section: Any) -> Any:
        """Config object of this part from its section of config.json.

        Raises:
            pydantic.ValidationError: it does not fit.
        """
        architecture = section.get("architecture") if isinstance(section, dict) else None
        return _locate(self._classes(architecture)[1]).model_validate(section)

    def build(self, config: Any) -> nn.Module:
        """The network with uninitialised weights, weight norm removed as in its stored form."""
        from mamtra.checkpoints.strict_loading import build_uninitialised

        network = _locate(self._classes(getattr(config, "architecture", None))[0])
        if self.weight_norm:
            return build_uninitialised(lambda: network(config).remove_weight_norm())
        return build_uninitialised(lambda: network(config))

    def _classes(self, architecture: Any) -> tuple[str, str]:
        ours = (self.network, self.config)
        return self.others.get(architecture, ours) if isinstance(architecture, str) else ours


PARTS = {
    part.section: part
    for part in (
        Part(
            "lm",
            "model.safetensors",
            "mamtra.models.speech_lm:SpeechLM",
            "mamtra.models.config:SpeechLMConfig",
            "turns text into speech tokens",
        ),
        Part(
            "causal_lm",
            "model.safetensors",
            "mamtra.models.causal_lm:CausalLM",
            "mamtra.models.config:CausalLMConfig",
            "continues a sequence of tokens",
            speaks=False,
        ),
        Part(
            "flow",
            "flow.safetensors",
            "mamtra.acoustic.flow:Flow",
            "mamtra.acoustic.flow:FlowConfig",
            "turns speech tokens into a spectrogram",
            others={"dit": ("mamtra.acoustic.dit_flow:DiTFlow", "mamtra.acoustic.dit_flow:DiTFlowConfig")},
        ),
        Part(
            "vocoder",
            "vocoder.safetensors",
            "mamtra.acoustic.hift:HiFT",
            "mamtra.acoustic.hift:HiFTConfig",
            "turns a spectrogram into sound",
            weight_norm=True,
            others={
                "causal": ("mamtra.acoustic.causal_hift:CausalHiFT", "mamtra.acoustic.causal_hift:CausalHiFTConfig"),
                "source_filter": (
                    "mamtra.acoustic.source_filter:SourceFilter",
                    "mamtra.acoustic.source_filter:SourceFilterConfig",
                ),
            },
        ),
        Part(
            "speech_tokenizer",
            "speech_tokenizer.safetensors",
            "mamtra.encoders.speech_tokenizer:SpeechTokenizer",
            "mamtra.encoders.speech_tokenizer:SpeechTokenizerConfig",
            "turns sound into speech tokens",
        ),
        Part(
            "speaker_encoder",
            "speaker_encoder.safetensors",
            "mamtra.encoders.campplus:CAMPPlus",
            "mamtra.encoders.campplus:CAMPPlusConfig",
            "describes a voice by a vector",
        ),
    )
}


def _locate(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
