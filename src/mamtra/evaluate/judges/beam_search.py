"""Beam search over a batch on its device, with OpenAI Whisper's rule of when a sequence is done and which one is best."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LOOK = 8
"""Steps between two looks at whether all are done: each look waits for the device."""


class Found(NamedTuple):
    """The best sequence of each item.

    Attributes:
        tokens: without the end.
        mean_log_prob: of its tokens, the end included.
    """

    tokens: list[list[int]]
    mean_log_prob: list[float]


Next = Callable[[Tensor, Tensor], Tensor]
"""Tokens (B, W) that are taken and the places (B, W) of the beams that they continue -> logits (B, W, V)."""


def beam_search(first: Tensor, follow: Next, *, beams: int, end: int, limit: int) -> Found:
    """Sequences by sum of log probabilities; an item is done once `beams` of its sequences have ended.

    A sequence that ends counts where fewer than `beams` better ones of its step go on. The best has the highest sum for its
    length without the end; where fewer than `beams` have ended at the limit, those that go on count as well.

    Args:
        first: logits (B, V) of the first token; V > beams.
        follow: one step of the model.
        beams: sequences of an item that go on.
        end: token that ends a sequence.
        limit: longest sequence.
    """
    batch, device = len(first), first.device
    sums = torch.full((batch, beams), float("-inf"), device=device)
    sums[:, 0] = 0  # all beams are the same one at first
    history = torch.zeros(batch, beams, 0, dtype=torch.long, device=device)
    best = torch.full((batch,), float("-inf"), device=device)
    best_sum, best_length = torch.zeros_like(best), torch.zeros(batch, dtype=torch.long, device=device)
    best_tokens = torch.zeros(batch, limit, dtype=torch.long, device=device)
    ended = torch.zeros(batch, dtype=torch.long, device=device)
    logits = first[:, None].expand(-1, beams, -1)

    def keep(sequences: Tensor, totals: Tensor, counted: Tensor) -> None:
        """Remember the best of sequences (B, n, t) with sums (B, n), of those that are counted (B, n)."""
        nonlocal best, best_sum, best_length, best_tokens
        length = sequences.shape[2]
        score, place = (totals / max(length, 1)).masked_fill(~counted, float("-inf")).max(1)
        better = score > best
        rows = torch.arange(batch, device=device)
        tokens = torch.nn.functional.pad(sequences[rows, place], (0, limit - length))
        best = torch.where(better, score, best)
        best_sum = torch.where(better, totals[rows, place], best_sum)
        best_length = torch.where(better, length, best_length)
        best_tokens = torch.where(better[:, None], tokens, best_tokens)

    for step in range(limit + 1):
        values, tokens = logits.topk(beams + 1, dim=-1)
        totals = sums[..., None] + values.float() - logits.float().logsumexp(-1, keepdim=True)
        totals, order = totals.flatten(1).topk(2 * beams, dim=1)
        parents, tokens = order // (beams + 1), tokens.flatten(1).gather(1, order)
        is_end = tokens == end
        goes_on = (~is_end).cumsum(1)
        ends = is_end & (goes_on < beams)
        counted = ends & (ended[:, None] + ends.cumsum(1) <= beams)
        keep(history.gather(1, parents[..., None].expand(-1, -1, step)), totals, counted)
        ended += counted.sum(1)
        if step == limit:
            break
        taken = (totals.masked_fill(is_end, float("-inf"))).topk(beams, dim=1)
        sums = taken.values
        parents, tokens = parents.gather(1, taken.indices), tokens.gather(1, taken.indices)
        history = torch.cat([history.gather(1, parents[..., None].expand(-1, -1, step)), tokens[..., None]], 2)
        if step % LOOK == LOOK - 1 and bool((ended >= beams).all()):
            break
        logits = follow(tokens, parents)
    more = torch.arange(beams, device=device) < (beams - ended).clamp(min=0)[:, None]
    keep(history, sums, more)
    tokens, lengths = best_tokens.tolist(), best_length.tolist()
    means = (best_sum / (best_length + 1)).tolist()
    return Found([row[:length] for row, length in zip(tokens, lengths, strict=True)], means)
