"""What rounding does to the numbers of a language model: weights in eight bits, Mamba states in bfloat16 and int8."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.models.layout import IGNORE, Batch
from mamtra.models.scaled_linear import scale_weights
from mamtra.models.speech_lm import SpeechLM
from mamtra.models.state import MambaState

EXACT = "float32"
WEIGHTS = ("bfloat16", "int8", "fp8")
STATES = ("bfloat16", "int8")
Logits = tuple[Tensor, Tensor]
"""Logits (N, V) of all positions that predict a speech token or the end, and the targets (N,)."""


def with_weights(lm: SpeechLM, kind: str) -> SpeechLM:
    """A copy with the matrices of its layers rounded."""
    lm = copy.deepcopy(lm)
    if kind == "bfloat16":
        lm.model.layers.to(torch.bfloat16).to(torch.float32)
    elif kind != EXACT:
        scale_weights(lm, kind)
    return lm


def round_states(ssm: Tensor, kind: str) -> None:
    """Round Mamba states (..., P, N) in place: to bfloat16, or to int8 with one scale for each head of each stream."""
    if kind == "bfloat16":
        ssm.copy_(ssm.to(torch.bfloat16))
    elif kind == "int8":
        scale = ssm.abs().amax((-2, -1), keepdim=True).clamp_min(1e-30) / 127
        ssm.copy_((ssm / scale).round_() * scale)


def compare_weights(lm: SpeechLM, spoken: list[Batch]) -> Iterator[dict[str, Any]]:
    """Every kind of weights against float32, the whole sequences at once."""
    exact = read_at_once(lm, spoken)
    yield {"name": EXACT, **compare(exact, exact)}
    for kind in WEIGHTS:
        yield {"name": kind, **compare(read_at_once(with_weights(lm, kind), spoken), exact)}


def compare_states(lm: SpeechLM, spoken: list[Batch]) -> Iterator[dict[str, Any]]:
    """Every kind of state against float32, position by position, as in decoding."""
    exact = read_in_steps(lm, spoken, EXACT)
    yield {"name": EXACT, **compare(exact, exact)}
    for kind in STATES:
        yield {"name": kind, **compare(read_in_steps(lm, spoken, kind), exact)}


def read_at_once(lm: SpeechLM, spoken: list[Batch]) -> Logits:
    """One pass over each batch."""
    return _joined(lm, spoken, lambda batch: lm(lm.embed(batch.kind, batch.ids)))


def read_in_steps(lm: SpeechLM, spoken: list[Batch], kind: str) -> Logits:
    """One pass up to where the first row has a target, then one for each position; after each the Mamba states are rounded."""

    def read(batch: Batch) -> Tensor:
        x, first = lm.embed(batch.kind, batch.ids), int((batch.targets != IGNORE).int().argmax(1).min())
        state, hidden = lm.init_state(*x.shape[:2]), []
        for part in (x[:, :first], *x[:, first:].split(1, 1)):
            hidden.append(lm(part, state))
            for layer in state.layers:
                if isinstance(layer, MambaState):
                    round_states(layer.ssm, kind)
        return torch.cat(hidden, 1)

    return _joined(lm, spoken, read)


def _joined(lm: SpeechLM, spoken: list[Batch], read: Callable[[Batch], Tensor]) -> Logits:
    logits, targets = [], []
    for batch in spoken:
        where = batch.targets != IGNORE
        logits.append(lm.logits(read(batch)[where]))
        targets.append(batch.targets[where])
    return torch.cat(logits), torch.cat(targets)


def compare(found: Logits, exact: Logits) -> dict[str, float]:
    """Cross entropy and divergence from full precision in nats a token, relative error of the logits, equal first choices."""
    logits, targets = found
    divergence = F.kl_div(logits.log_softmax(-1), exact[0].log_softmax(-1), reduction="batchmean", log_target=True)
    return {
        "cross_entropy": F.cross_entropy(logits, targets).item(),
        "divergence": divergence.item(),
        "logit_error": ((logits - exact[0]).norm() / exact[0].norm()).item(),
        "same_first": (logits.argmax(-1) == exact[0].argmax(-1)).float().mean().item(),
        "positions": len(targets),
    }
