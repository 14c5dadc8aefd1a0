"""Sums over the positions of a batch, a chunk of positions at a time, with gradients computed in the forward pass.

The logits of all positions do not fit into memory beside a model. Here those of a chunk are made, their gradients taken, and
both given up, all in the forward pass: nothing is computed a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def chunked_sums(
    function: Callable[..., Tensor],
    factors: tuple[float, ...],
    chunk: int,
    hidden: Tensor,
    others: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Add up ``function(hidden, *others)`` over chunks of the first axis.

    Args:
        function: gives (len(factors),) float32 sums over the positions of a chunk; gradients flow into its first argument and
            into ``parameters``, which it knows of itself.
        factors: of the sums in the scalar that is differentiated.
        chunk: positions at a time.
        hidden: (positions, channels).
        others: tensors (positions, ...), or None, without gradients.
        parameters: that the function reads.

    Returns:
        The sums weighted by ``factors``, a scalar which can be differentiated once, and the sums (len(factors),), which
        cannot.
    """
    if torch.is_grad_enabled():
        return _ChunkedSums.apply(function, factors, chunk, tuple(others), hidden, *parameters)
    sums = sum(function(*part) for part in _parts(chunk, hidden, *others))
    return _weighted(sums, factors), sums


class _ChunkedSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., Tensor],
        factors: tuple[float, ...],
        chunk: int,
        others: tuple[Tensor | None, ...],
        hidden: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        trained = [p for p in parameters if p.requires_grad]
        sums: Tensor | None = None
        in_hidden, in_parameters = [], []
        for first, *rest in _parts(chunk, hidden, *others):
            with torch.enable_grad():
                first = first.detach().requires_grad_()
                found = function(first, *rest)
                mine, *theirs = torch.autograd.grad(_weighted(found, factors), (first, *trained))
            sums = found.detach() if sums is None else sums + found.detach()
            in_hidden.append(mine)
            in_parameters = (
                theirs if not in_parameters else [a.add_(b) for a, b in zip(in_parameters, theirs, strict=True)]
            )
        ctx.trained = [p.requires_grad for p in parameters]
        ctx.save_for_backward(torch.cat(in_hidden), *in_parameters)
        ctx.mark_non_differentiable(sums)
        return _weighted(sums, factors), sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
        hidden, *parameters = (saved * grad for saved in ctx.saved_tensors)
        left = iter(parameters)
        return None, None, None, None, hidden, *(next(left) if needed else None for needed in ctx.trained)


def _parts(chunk: int, *tensors: Tensor | None) -> list[list[Tensor | None]]:
    starts = range(0, tensors[0].shape[0], chunk)
    return [[None if t is None else t[start : start + chunk] for t in tensors] for start in starts]


def _weighted(sums: Tensor, factors: tuple[float, ...]) -> Tensor:
    return sum(factor * one for factor, one in zip(factors, sums.unbind(), strict=True))
