"""The speech language model: tables for text, speech and two special inputs, the backbone, the head over speech ids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.models.backbone import Backbone
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import PAD, SPEECH, TEXT
from mamtra.models.mamba import MambaMixer, draw_dynamics
from mamtra.models.state import DecodeState


class SpeechLM(nn.Module):
    """Predicts 25 Hz speech codes from text, as CosyVoice 2 does when all layers are attention.

    Parameters are named ``model.*`` (as in Qwen2, with ``mamba`` in place of ``self_attn`` in Mamba layers),
    ``llm_embedding`` (rows sos, task), ``speech_embedding`` and ``llm_decoder``. There are no buffers: what decoding
    needs lies in a `DecodeState`.
    """

    def __init__(self, config: SpeechLMConfig, generator: torch.Generator | None = None) -> None:
        """Build the model with drawn weights.

        Args:
            config: sizes and layer kinds.
            generator: source of the draws. Under ``torch.device("meta")`` nothing is drawn.
        """
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.llm_embedding = nn.Embedding(2, config.hidden_size)
        self.speech_embedding = nn.Embedding(config.speech_vocab_size, config.hidden_size)
        self.llm_decoder = nn.Linear(config.hidden_size, config.speech_vocab_size)
        if not self.llm_decoder.weight.is_meta:
            self.init_weights(generator)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew.

        Matrices and tables are normal with standard deviation 0.02, as in Qwen2, the layers' output matrices smaller by
        sqrt(2 * layers) so that the residual stream starts small; biases are zero.
        """
        depth = (2 * self.config.num_hidden_layers) ** -0.5
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                last = name.rsplit(".", 1)[-1] in ("o_proj", "out_proj", "down_proj")
                module.weight.normal_(0.0, 0.02 * (depth if last else 1.0), generator=generator)
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Conv1d):
                bound = module.weight.shape[-1] ** -0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.zero_()
            elif isinstance(module, MambaMixer):
                for parameter, value in draw_dynamics(self.config.num_attention_heads, generator).items():
                    getattr(module, parameter).copy_(value)

    def embed(self, kind: Tensor, ids: Tensor) -> Tensor:
        """Look up inputs of mixed kinds.

        Args:
            kind: (B, L) int64: 0 sos, 1 task, 2 text, 3 speech, -1 padding.
            ids: (B, L) int64, the row in the table of that kind.

        Returns:
            (B, L, hidden_size); padding has the value -1 everywhere, as in CosyVoice 2.
        """
        text, speech = kind == TEXT, kind == SPEECH
        special = ~(text | speech)
        embedded = torch.where(
            text[..., None],
            self.model.embed_tokens(ids.masked_fill(~text, 0)),
            self.speech_embedding(ids.masked_fill(~speech, 0)),
        )
        marks = self.llm_embedding(ids.masked_fill(~special, 0).clamp(min=0))
        return torch.where(special[..., None], marks, embedded).masked_fill((kind == PAD)[..., None], -1.0)

    def forward(
        self,
        inputs_embeds: Tensor,
        state: DecodeState | None = None,
        lengths: Tensor | None = None,
        collect: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states after the final norm; arguments and errors as in `Backbone.forward`."""
        return self.model(inputs_embeds, state, lengths, collect)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) to (..., speech_vocab_size)."""
        return F.linear(hidden, self.llm_decoder.weight, self.llm_decoder.bias)

    def next_logits(self, x: Tensor, state: DecodeState) -> Tensor:
        """One decode step.

        Args:
            x: (B, hidden_size), the embedded input.
            state: what came before; moved on.

        Returns:
            Logits (B, speech_vocab_size) of the id that follows.

        Raises:
            MamTraError: the state has no room for one more position.
        """
        return self.logits(self.model(x.unsqueeze(1), state)[:, 0])

    def init_state(
        self,
        batch: int,
        max_length: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DecodeState:
        """An empty state for this model, see `DecodeState.empty`; device and dtype default to those of the weights."""
        weight = self.llm_decoder.weight
        return DecodeState.empty(self.config, batch, max_length, device or weight.device, dtype or weight.dtype)
