"""What all language models share: the backbone, random initialisation, one decode step, an empty state."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mamtra.models.backbone import Backbone
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer, init_dynamics
from mamtra.models.state import DecodeState


class LanguageModel(nn.Module, ABC):
    """A backbone named ``model`` and a head.

    There are no buffers: what decoding needs lies in a `DecodeState`.
    """

    config: BackboneConfig
    model: Backbone

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """(ids, hidden_size), rows of the output."""

    @property
    @abstractmethod
    def head_bias(self) -> Tensor | None:
        """(ids,), where the head has a bias."""

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) to (..., ids)."""
        return nn.functional.linear(hidden, self.head_weight, self.head_bias)

    def forward(
        self,
        inputs_embeds: Tensor,
        state: DecodeState | None = None,
        lengths: Tensor | None = None,
        collect: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states after the final norm; arguments and errors as in `Backbone.forward`."""
        return self.model(inputs_embeds, state, lengths, collect)

    def next_logits(self, x: Tensor, state: DecodeState) -> Tensor:
        """One decode step.

        Args:
            x: (B, hidden_size), the embedded input.
            state: what came before; moved on.

        Returns:
            Logits (B, ids) of the id that follows.

        Raises:
            MamTraError: one more position exceeds the capacity of the state.
        """
        return self.logits(self.model(x.unsqueeze(1), state)[:, 0])

    def init_state(
        self, batch: int, max_length: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> DecodeState:
        """An empty state for this model, see `DecodeState.empty`; device and dtype default to those of the weights."""
        weight = self.head_weight
        return DecodeState.empty(self.config, batch, max_length, device or weight.device, dtype or weight.dtype)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Initialise all weights randomly.

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
                made = init_dynamics(self.config.num_attention_heads, generator, self.config.mamba_form)
                for parameter, value in made.items():
                    getattr(module, parameter).copy_(value)
