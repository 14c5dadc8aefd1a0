"""A published CosyVoice 2 directory, used without conversion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from torch import Tensor, nn

from mamtra.checkpoints.cosyvoice.files import VOICE_SPACE, YAML, find_settings, is_cosyvoice
from mamtra.checkpoints.cosyvoice.parts import (
    SAMPLE_RATE,
    check_language_model,
    load_flow,
    load_vocoder,
    open_text,
    read_generation,
)
from mamtra.checkpoints.cosyvoice.speakers import read_speakers
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.strict_loading import load_strictly
from mamtra.encoders.onnx import OnnxSpeakerEncoder, OnnxSpeechTokenizer
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.text.bpe import BpeFrontend

SPEECH_TOKENIZER = "speech_tokenizer_v2.onnx"
SPEAKER_ENCODER = "campplus.onnx"


class CosyVoiceModel(Model):
    """The parts of `Model`, read from the files that CosyVoice 2 is published in.

    Args: see `Model`.

    Raises:
        MamTraError: it is another CosyVoice, or cosyvoice2.yaml is missing or damaged.
    """

    def _read(self) -> None:
        is_cosyvoice(self.directory)
        self._settings = Settings(find_settings(self.directory) or self.directory / YAML)
        self.config = {"sample_rate": SAMPLE_RATE, "voice_space": VOICE_SPACE}
        self.generation = read_generation(self._settings)

    @cached_property
    def speakers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Preset speakers, see `read_speakers`."""
        return read_speakers(self.directory)

    def _load(self, section: str) -> nn.Module:
        if section == "lm":
            stored = open_language_model(self.directory)
            check_language_model(self._settings, stored.config)
            weights = {name: stored.read(name).to(self.dtype) for name in stored.names}
            return load_strictly(PARTS["lm"].build(stored.config), weights, str(stored.source.path))
        if section == "flow":
            return load_flow(self.directory, self._settings)
        if section == "vocoder":
            return load_vocoder(self.directory, self._settings)
        if section == "speech_tokenizer":
            return OnnxSpeechTokenizer(self.directory / SPEECH_TOKENIZER)
        if section == "speaker_encoder":
            return OnnxSpeakerEncoder(self.directory / SPEAKER_ENCODER)
        raise MamTraError(f"A CosyVoice 2 model has no part {section!r}.")

    def _open_text(self) -> BpeFrontend:
        tokenizer = open_text(self.directory, open_language_model(self.directory).config)
        return BpeFrontend(tokenizer, rules=self.generation.text_rules)
