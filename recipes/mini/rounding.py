"""Weights rounded in training as they will be when they are stored, so that the network learns to live with it."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mamtra.checkpoints.four_bits import GROUP
from mamtra.checkpoints.storage import choose_storage


class Rounded(nn.Module):
    """The nearest weight that the stored form can hold; gradients pass as if nothing were rounded.

    Args:
        storage: int8 (rows) or int4 (groups within rows).
    """

    def __init__(self, storage: str = "int8") -> None:
        super().__init__()
        self.greatest, self.group = (127, None) if storage == "int8" else (7, GROUP)

    def forward(self, weight: Tensor) -> Tensor:
        """Map (rows, ...) to the same shape, as `mamtra.checkpoints.storage` would."""
        with torch.no_grad():
            flat = weight.flatten(1)
            group = self.group or flat.shape[1]
            groups = F.pad(flat, (0, -flat.shape[1] % group)).unflatten(1, (-1, group))
            scale = (groups.abs().amax(dim=-1, keepdim=True) / self.greatest).clamp(min=1e-12)
            rounded = ((groups / scale).round() * scale).flatten(1)[:, : flat.shape[1]]
            change = rounded - flat
        return weight + change.view(weight.shape)


def round_weights(module: nn.Module, storage: str = "int8") -> None:
    """Round every weight that is stored compactly from now on; see `plain_names` for the names in the state dict."""
    for part in list(module.modules()):
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and choose_storage(weight, "int8") == "int8":
            parametrize.register_parametrization(part, "weight", Rounded(storage), unsafe=True)


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the names that rounding gives to weights; those of weight norm stay."""
    return {re.sub(r"parametrizations\.weight\.original$", "weight", name): value for name, value in state.items()}
