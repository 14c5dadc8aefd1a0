"""Choosing the next speech id: repetition-aware sampling (VALL-E 2, arXiv 2406.05370) as in CosyVoice 2, greedy, and from all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamtra.models.sampling_config import DEFAULT_RAS, RASConfig


def nucleus(logits: Tensor, top_p: float, top_k: int) -> tuple[Tensor, Tensor]:
    """The candidates, most probable first, until their probabilities sum to ``top_p`` or there are ``top_k`` of them.

    Args:
        logits: (V,); -inf excludes an id.
        top_p: see above.
        top_k: see above.

    Returns:
        Their probabilities among all ids (not renormalised), float32, and their ids; at least one.
    """
    # Ties must be broken as by a stable descending sort, where the lower id wins; topk alone does not promise it, so the
    # few ids that can matter are sorted afterwards.
    probabilities = torch.softmax(logits.float(), -1)
    count = min(top_k, probabilities.shape[0])
    least = probabilities.topk(count).values[-1]
    candidates = (probabilities >= least).nonzero().flatten()
    kept, order = probabilities[candidates].sort(descending=True, stable=True)
    kept, ids = kept[:count], candidates[order[:count]]
    running = 0.0
    size = 0
    for p in kept.tolist():
        if size and running >= top_p:
            break
        running += p
        size += 1
    return kept[:size], ids[:size]


def ras_sample(
    logits: Tensor, history: Sequence[int], generator: torch.Generator | None = None, *, config: RASConfig = DEFAULT_RAS
) -> int:
    """Draw from the nucleus; where the result is among the latest ids, draw again from all other ids.

    The random draws come in the order of CosyVoice 2, so that equal seeds give equal ids: one `torch.multinomial` over
    the candidates, then, after a repetition, one over the softmax of the whole vocabulary without the rejected id.

    Args:
        logits: (V,), or any shift of them such as log-probabilities; -inf excludes an id.
        history: ids so far, the latest last.
        generator: CPU generator of the draws; torch's default one when absent.
        config: settings.

    Returns:
        The id.
    """
    logits = logits.float().cpu()
    probabilities, ids = nucleus(logits, config.top_p, config.top_k)
    token = int(ids[torch.multinomial(probabilities, 1, replacement=True, generator=generator)])
    window = history[-config.win_size :] if config.win_size else ()
    if sum(t == token for t in window) >= max(1, config.win_size * config.tau_r):
        rest = logits.clone()
        rest[token] = float("-inf")
        token = int(torch.multinomial(torch.softmax(rest, -1), 1, replacement=True, generator=generator))
    return token


def sample_all(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> int:
    """Draw from all ids.

    Args:
        logits: (V,), or any shift of them; -inf excludes an id.
        temperature: by which they are divided.
        generator: see `ras_sample`.

    Returns:
        The id.
    """
    chances = torch.softmax(logits.float().cpu() / temperature, -1)
    return int(torch.multinomial(chances, 1, replacement=True, generator=generator))


def greedy(logits: Tensor, history: Sequence[int], generator: torch.Generator | None = None) -> int:
    """The most probable id; the other arguments are there to have one shape of sampler."""
    return int(logits.argmax())
