"""Staged alignment after MOHAWK (Bick et al. 2024, arXiv 2408.10189): each new mixer is trained to imitate
the attention that it replaces.

Every layer gets the teacher's own hidden states as input, so layers are trained independently and errors do not accumulate.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.models.attention import Attention
from mamtra.models.layout import PAD
from mamtra.models.mamba import MambaMixer
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.conv import causal_conv1d
from mamtra.ops.rope import apply_rope

Stage = Literal["matrix", "hidden"]


class Alignment:
    """Losses between the Mamba layers of a student and the attention layers of its teacher that they replace.

    Args:
        student: only its mixers are trained.
        teacher: without gradients.
        half: compute matrix products in bfloat16.
    """

    def __init__(self, student: SpeechLM, teacher: SpeechLM, *, half: bool = False) -> None:
        self._student, self._teacher, self._half = student, teacher, half
        kinds = zip(teacher.config.layer_types, student.config.layer_types, strict=True)
        self.layers = [i for i, pair in enumerate(kinds) if pair == ("full_attention", "linear_attention")]

    def backward(self, stage: Stage, kind: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
        """Add the gradient of a micro-batch, layer by layer, so that the matrices of only one layer are in memory.

        Args:
            stage: ``matrix`` compares the mixing matrices, ``hidden`` the outputs of the mixers.
            kind: (B, L) int64.
            ids: (B, L) int64.
            weight: () of the micro-batch in its step.

        Returns:
            The mean over the layers, () float32, without gradient.
        """
        teacher, valid = self._teacher, kind != PAD
        total = torch.zeros((), device=kind.device)
        with torch.autocast(kind.device.type, torch.bfloat16, enabled=self._half, cache_enabled=False):
            with torch.no_grad():
                positions = Positions.from_zero(kind.shape[1], teacher.config, kind.device)
                hidden = teacher.embed(kind, ids)
            for i, layer in enumerate(teacher.model.layers):
                if i in self.layers:
                    with torch.no_grad():
                        seen = layer.input_layernorm(hidden)
                        aim = (
                            attention_matrix(layer.self_attn, seen, positions)
                            if stage == "matrix"
                            else layer.self_attn(seen, positions)
                        )
                    mixer = self._student.model.layers[i].mamba
                    made = mixing_matrix(mixer, seen) if stage == "matrix" else mixer(seen, positions)
                    compare = matrix_distance if stage == "matrix" else output_distance
                    loss = compare(made, aim, valid) / len(self.layers)
                    (loss * weight).backward()
                    total = total + loss.detach()
                with torch.no_grad():
                    hidden = layer(hidden, positions)
        return total


def mixing_matrix(mixer: MambaMixer, hidden: Tensor) -> Tensor:
    """The mixing matrix of a mixer before gate and norm: y_i = sum_j M_ij x_j, with the skip on the diagonal.

    Args:
        mixer: see `MambaMixer`.
        hidden: (B, L, hidden_size).

    Returns:
        (B, heads, L, L) float32, zero above the diagonal.
    """
    _, xbc, dt = mixer.in_proj(hidden).split(mixer.in_sizes, -1)
    conv, _ = causal_conv1d(xbc, mixer.conv1d.weight.squeeze(1), mixer.conv1d.bias, None, None)
    _, B, C = (conv if mixer.discrete else F.silu(conv)).float().split(mixer.conv_sizes, -1)
    B, C = (t.unflatten(-1, (-1, mixer.head_dim)).transpose(1, 2) for t in (B, C))
    dt = F.softplus(dt.float() + mixer.dt_bias.float()).transpose(1, 2)  # (B, heads, L)
    decay = torch.cumsum(dt * -torch.exp(mixer.A_log.float())[:, None], -1)
    above = torch.ones(dt.shape[-1], dt.shape[-1], dtype=torch.bool, device=dt.device).triu(1)
    between = (decay[..., :, None] - decay[..., None, :]).masked_fill(above, float("-inf")).exp()
    with torch.autocast(hidden.device.type, enabled=False):
        scores = C @ B.repeat_interleave(mixer.repeats, 1).transpose(-1, -2)
    weights = scores * between * (1.0 if mixer.discrete else dt[..., None, :])
    return weights + torch.diag_embed(mixer.D.float()[:, None].expand(-1, dt.shape[-1]))


def attention_matrix(attention: Attention, hidden: Tensor, positions: Positions) -> Tensor:
    """The weights of causal attention, (B, heads, L, L) float32."""
    q, k = (
        proj(hidden).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj)
    )
    q, k = (apply_rope(t, positions.cos, positions.sin).float() for t in (q, k))
    with torch.autocast(hidden.device.type, enabled=False):
        scores = q @ k.repeat_interleave(attention.repeats, 1).transpose(-1, -2) / math.sqrt(attention.head_dim)
    above = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(above, float("-inf")).softmax(-1)


def matrix_distance(made: Tensor, aim: Tensor, valid: Tensor) -> Tensor:
    """Frobenius norm of the difference over valid rows, mean over heads and sequences that have any.

    Args:
        made: (B, heads, L, L).
        aim: the same shape.
        valid: (B, L) bool.
    """
    squares = torch.where(valid[:, None, :, None], made - aim, 0.0).square().sum((-2, -1))
    norms = (squares + 1e-12).sqrt().mean(1)  # (B,); the epsilon keeps the gradient of the root finite
    used = valid.any(-1)
    return torch.where(used, norms, 0.0).sum() / used.sum().clamp(min=1)


def output_distance(made: Tensor, aim: Tensor, valid: Tensor) -> Tensor:
    """Euclidean norm of the difference (B, L, hidden_size), mean over valid positions."""
    squares = torch.where(valid[..., None], made.float() - aim.float(), 0.0).square().sum(-1)
    return torch.where(valid, (squares + 1e-12).sqrt(), 0.0).sum() / valid.sum().clamp(min=1)
