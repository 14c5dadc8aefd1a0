"""Attention heads of a flow that have become a choice of one frame, made soft again before the training goes on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mamtra.acoustic.estimator import SelfAttention

HARD, SOFT = 30.0, 4.0
"""Standard deviations of a head's scores: above the first it is made soft, with the second."""


@torch.no_grad()
def soften(flow: nn.Module, run: Callable[[], object]) -> dict[str, list[float]]:
    """Scale the queries and keys of every hard head of the vector field.

    Args:
        flow: a flow.
        run: runs it on some batch.

    Returns:
        The standard deviations of the scores of a layer's heads, by its name, of the layers with a hard one.
    """
    found: dict[str, list[float]] = {}
    for name, layer in flow.named_modules():
        if isinstance(layer, SelfAttention):
            spreads = spread(layer, run)
            if max(spreads) > HARD:
                found[name] = [round(one, 1) for one in spreads]
                for part in (layer.to_q, layer.to_k):
                    factors = torch.tensor([(SOFT / one) ** 0.5 if one > HARD else 1.0 for one in spreads])
                    part.weight.mul_(factors.repeat_interleave(layer.split[1])[:, None].to(part.weight))
    return found


def spread(layer: SelfAttention, run: Callable[[], object]) -> list[float]:
    """The standard deviation of the scores of each head, over the keys of each query."""
    seen: list[Tensor] = []
    handles = [
        part.register_forward_hook(lambda *args: seen.append(args[2].float())) for part in (layer.to_q, layer.to_k)
    ]
    run()
    for handle in handles:
        handle.remove()
    q, k = (one.unflatten(-1, layer.split).transpose(1, 2) for one in seen[:2])
    return ((q @ k.transpose(-1, -2)) * layer.split[1] ** -0.5).std(-1).mean((0, 2)).tolist()
