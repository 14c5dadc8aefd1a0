"""A causal language model over one vocabulary: Qwen2 and Llama when all layers are attention, and their hybrids."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamtra.models.backbone import Backbone
from mamtra.models.config import CausalLMConfig
from mamtra.models.language_model import LanguageModel


class CausalLM(LanguageModel):
    """Predicts the next token. Parameters are named as in Qwen2 and Llama, with ``mamba`` for the mixers that replace
    ``self_attn``; a tied head has no parameter of its own."""

    def __init__(self, config: CausalLMConfig, generator: torch.Generator | None = None) -> None:
        """Build the model with randomly initialised weights.

        Args:
            config: sizes and layer kinds.
            generator: of the random numbers; not used under ``torch.device("meta")``.
        """
        super().__init__()
        self.config = config
        self.model = Backbone(config, config.vocab_size)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if not self.head_weight.is_meta:
            self.init_weights(generator)

    @property
    def head_weight(self) -> Tensor:
        """(vocab_size, hidden_size)."""
        return self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight

    @property
    def head_bias(self) -> None:
        """There is none."""
        return None

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) int64 to (B, L, hidden_size)."""
        return self.model.embed_tokens(ids)
