"""How far a speech tokenizer's latents are from the tokens that are wanted."""

import torch
from torch import Tensor


def digit_distance(latents: Tensor, wanted: Tensor, inside: Tensor, levels: int, temperature: float) -> Tensor:
    """Cross entropy of digits (B, N, dims) by their distance from latents, summed over dims, mean over the tokens inside."""
    places = torch.arange(levels, device=latents.device) - (levels - 1) / 2
    logits = -((latents[..., None] - places) ** 2) / temperature
    index = (wanted + (levels - 1) / 2).long()[..., None]
    each = -logits.log_softmax(-1).gather(-1, index)[..., 0].sum(-1)
    return (each * inside).sum() / inside.sum().clamp(min=1)
