"""The speech language model: tables for text, speech and two special inputs, the backbone, the head over speech tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.models.backbone import Backbone
from mamtra.models.config import SpeechLMConfig
from mamtra.models.language_model import LanguageModel
from mamtra.models.layout import PAD, SPEECH, TEXT
from mamtra.runtime.device import to_device


class SpeechLM(LanguageModel):
    """Predicts speech tokens (25 Hz) from text; with attention in all layers it is the LM of CosyVoice 2.

    Parameters are named ``model.*`` (as in Qwen2, with ``mamba`` in place of ``self_attn`` in Mamba layers),
    ``llm_embedding`` (rows sos, task), ``speech_embedding`` and ``llm_decoder``.
    """

    def __init__(self, config: SpeechLMConfig, generator: torch.Generator | None = None) -> None:
        """Build the model with randomly initialised weights.

        Args:
            config: sizes and layer kinds.
            generator: of the random numbers; not used under ``torch.device("meta")``.
        """
        super().__init__()
        self.config = config
        self.model = Backbone(config, config.text_vocab_size)
        self.llm_embedding = nn.Embedding(2, config.hidden_size)
        self.speech_embedding = nn.Embedding(config.speech_vocab_size, config.hidden_size)
        self.llm_decoder = nn.Linear(config.hidden_size, config.speech_vocab_size)
        if not self.llm_decoder.weight.is_meta:
            self.init_weights(generator)

    def text_to_host(self) -> None:
        """Move the table of text to host memory: a sentence needs few of its rows, and CosyVoice 2's is a quarter of all."""
        self.model.embed_tokens.to("cpu")

    @property
    def head_weight(self) -> Tensor:
        """(speech_vocab_size, hidden_size)."""
        return self.llm_decoder.weight

    @property
    def head_bias(self) -> Tensor:
        """(speech_vocab_size,)."""
        return self.llm_decoder.bias

    def embed(self, kind: Tensor, ids: Tensor) -> Tensor:
        """Look up inputs of mixed kinds.

        Args:
            kind: (B, L) int64: 0 sos, 1 task, 2 text, 3 speech, -1 padding.
            ids: (B, L) int64, the row in the table of that kind; on the device of the text table (see `text_to_host`), or on the
                model's, which the host then waits for.

        Returns:
            (B, L, hidden_size) on the model's device; padding has the value -1 everywhere, as in CosyVoice 2.
        """
        table, device = self.model.embed_tokens, self.head_weight.device
        rows = to_device(table(ids.masked_fill(kind != TEXT, 0).to(table.weight.device)), device)
        kind, ids = to_device(kind, device), to_device(ids, device)
        text, speech = kind == TEXT, kind == SPEECH
        embedded = torch.where(text[..., None], rows, self.speech_embedding(ids.masked_fill(~speech, 0)))
        marks = self.llm_embedding.weight
        marks = F.embedding(
            ids.masked_fill(text | speech, 0).masked_fill(kind == PAD, len(marks)),
            torch.cat((marks, torch.full_like(marks[:1], -1.0))),
        )
        return torch.where((text | speech)[..., None], embedded, marks)
