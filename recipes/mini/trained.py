"""Read the file written by a training run: its network and its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.checkpoints.strict_loading import build_uninitialised, load_strictly
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig
from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM

NETWORKS: dict[str, tuple[type[nn.Module], type]] = {
    "lm": (SpeechLM, SpeechLMConfig),
    "flow": (Flow, FlowConfig),
    "vocoder": (HiFT, HiFTConfig),
    "speech_tokenizer": (SpeechTokenizer, SpeechTokenizerConfig),
    "speaker_encoder": (CAMPPlus, CAMPPlusConfig),
}


def read_metadata(path: Path) -> dict[str, Any]:
    """The parsed metadata of a training run."""
    with safe_open(path, "pt") as file:
        return {name: _parsed(text) for name, text in sorted((file.metadata() or {}).items())}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_network(path: Path, section: str) -> nn.Module:
    """The network of a training run's file as it was trained, in eval mode and without gradients."""
    network, config = NETWORKS[section]
    settings = config(**read_metadata(path)["config"])
    return load_strictly(build_uninitialised(lambda: network(settings)), load_file(path), str(path))
