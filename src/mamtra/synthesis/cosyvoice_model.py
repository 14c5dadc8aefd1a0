"""A published CosyVoice 2 or 3 directory, used without conversion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from torch import Tensor, nn

from mamtra.checkpoints.cosyvoice.files import FAMILIES, family_of, find_settings, is_cosyvoice
from mamtra.checkpoints.cosyvoice.parts import (
    SAMPLE_RATE,
    check_language_model,
    load_flow,
    load_vocoder,
    open_text,
    read_generation,
    text_config,
)
from mamtra.checkpoints.cosyvoice.sizes3 import read_mel_high
from mamtra.checkpoints.cosyvoice.speakers import read_speakers
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.strict_loading import load_strictly
from mamtra.encoders.onnx import OnnxSpeakerEncoder, OnnxSpeechTokenizer
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.text.bpe import BpeFrontend

SPEAKER_ENCODER = "campplus.onnx"


class CosyVoiceModel(Model):
    """The parts of `Model`, read from the files that CosyVoice 2 and 3 are published in.

    Args: see `Model`.

    Raises:
        MamTraError: it is another CosyVoice, or its settings are missing or damaged.
    """

    def _read(self) -> None:
        is_cosyvoice(self.directory)
        path = find_settings(self.directory)
        if path is None:
            names = " or ".join(family.settings for family in FAMILIES)
            raise MamTraError(f"{self.directory} has no settings: {names} is missing; get the model again.")
        self._family, self._settings = family_of(self.directory), Settings(path)
        self.config = {
            "sample_rate": SAMPLE_RATE,
            "voice_space": self._family.voice_space,
            "mel_high": read_mel_high(self._settings, self._family.mel_high),
        }
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
            return OnnxSpeechTokenizer(self.directory / self._family.speech_tokenizer)
        if section == "speaker_encoder":
            return OnnxSpeakerEncoder(self.directory / SPEAKER_ENCODER)
        raise MamTraError(f"A {self._family.name} model has no part {section!r}.")

    def _open_text(self) -> BpeFrontend:
        tokenizer = open_text(self.directory, open_language_model(self.directory).config)
        return BpeFrontend(tokenizer, text_config(self.directory), rules=self.generation.text_rules)
