"""Weights rounded in training as they will be when they are stored, so that the network learns to live with it."""

from __future__ import annotations

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
    """Round every weight-normalised weight that is stored as int8, from now on; the names in the state dict stay."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight") and choose_storage(part.weight, "int8") == "int8":
            parametrize.register_parametrization(part, "weight", Rounded(), unsafe=True)
