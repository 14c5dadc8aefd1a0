"""config.json of a model directory as a configuration of transformers."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError
from transformers import PreTrainedConfig

from mamtra.checkpoints.model_files import FORMAT
from mamtra.checkpoints.native import LANGUAGE_MODELS, TRANSFORMERS_KEYS
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig, CausalLMConfig, SpeechLMConfig
from mamtra.runtime.strict_models import first_problem

_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
_KEPT = (*LANGUAGE_MODELS, "format", "sample_rate", "voice_space", "dtype", "transformers_version")


class MamTraConfig(PreTrainedConfig):
    """Configuration of the language model alone, without flow, vocoder and other parts of the directory.

    The sizes of the backbone and ``layer_types`` are attributes too, where transformers looks for them.

    Args:
        lm: sizes of a speech LM, see `SpeechLMConfig`.
        causal_lm: sizes of any other causal LM, see `CausalLMConfig`; one of the two is given.
        format: version of the model directory.
        sample_rate: of the sound, Hz.
        voice_space: see the model directory.
        eos_token_id: each ends generation; those of the sizes by default.
        pad_token_id: pads short rows; the first of the ids that end generation by default.
        tie_word_embeddings: for transformers, which must not tie any weights here.

    Raises:
        MamTraError: the sizes are invalid.
    """

    model_type = "mamtra"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values", "cache"]

    lm: dict | None = None
    causal_lm: dict | None = None
    format: int = FORMAT
    sample_rate: int = 24000
    voice_space: str = ""
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = False  # a head that is tied has no parameter of its own, see CausalLM

    def __post_init__(self, **kwargs: Any) -> None:
        derived = {*PARTS, *_SIZES, "base", "layer_types", "vocab_size"}
        super().__post_init__(**{name: value for name, value in kwargs.items() if name not in derived})
        if self.section is None:
            return
        sizes = self.sizes
        for name in _SIZES:
            setattr(self, name, getattr(sizes, name))
        self.layer_types = list(sizes.layer_types)
        speaks = isinstance(sizes, SpeechLMConfig)
        self.vocab_size = sizes.speech_vocab_size if speaks else sizes.vocab_size
        stops = list(sizes.stop_ids if speaks else sizes.eos_ids)
        if stops and self.eos_token_id is None:
            self.eos_token_id = stops
        if stops and self.pad_token_id is None:
            self.pad_token_id = stops[0]

    @property
    def section(self) -> str | None:
        """``"lm"``, ``"causal_lm"``, or None for an empty configuration."""
        return next((name for name in LANGUAGE_MODELS if getattr(self, name)), None)

    @property
    def sizes(self) -> SpeechLMConfig | CausalLMConfig:
        """The model's own configuration.

        Raises:
            MamTraError: there is none, or it is damaged.
        """
        if self.section is None:
            raise MamTraError("This configuration has no language model; give the sizes of one as lm or causal_lm.")
        kind = SpeechLMConfig if self.section == "lm" else CausalLMConfig
        try:
            return kind.model_validate(getattr(self, self.section))
        except ValidationError as error:
            raise MamTraError(f"The configuration, section {self.section!r}: {first_problem(error)}.") from error

    @classmethod
    def of(cls, sizes: BackboneConfig) -> MamTraConfig:
        """The configuration of a model of these sizes."""
        section = "lm" if isinstance(sizes, SpeechLMConfig) else "causal_lm"
        return cls(**{section: sizes.model_dump(mode="json")})

    def to_dict(self) -> dict[str, Any]:
        """Content of config.json: the keys of the package and the version of transformers."""
        found = super().to_dict()
        return {name: found[name] for name in _KEPT if found.get(name) is not None} | TRANSFORMERS_KEYS

    def to_diff_dict(self) -> dict[str, Any]:
        """As `to_dict`; defaults are written too."""
        return self.to_dict()
