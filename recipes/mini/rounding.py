"""Weights rounded in training as they will be when they are stored, so that the network learns to live with it."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mamtra.checkpoints.storage import choose_storage


class Rounded(nn.Module):
    """The nearest weight that int8 rows can hold; gradients pass as if nothing were rounded."""

    def forward(self, weight: Tensor) -> Tensor:
        """Map (rows, ...) to the same shape, as `mamtra.checkpoints.storage.quantise_rows` would."""
        with torch.no_grad():
            flat = weight.flatten(1)
            scale = (flat.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
            change = (flat / scale).round() * scale - flat
        return weight + change.view(weight.shape)


def round_weights(module: nn.Module) -> None:
    """Round every weight that is stored as int8 from now on; see `plain_names` for the names in the state dict."""
    for part in list(module.modules()):
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and choose_storage(weight, "int8") == "int8":
            parametrize.register_parametrization(part, "weight", Rounded(), unsafe=True)


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the names that rounding gives to weights; those of weight norm stay."""
    return {re.sub(r"parametrizations\.weight\.original$", "weight", name): value for name, value in state.items()}
