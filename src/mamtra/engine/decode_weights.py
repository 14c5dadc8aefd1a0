"""A speech LM's weights in the order a decode step reads them, without a second copy in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamtra.models.backbone import DecoderLayer
from mamtra.models.scaled_linear import ScaledLinear
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.decode_types import MambaWeights, ScaledWeight


@dataclass(frozen=True)
class LayerWeights:
    """One layer.

    Attributes:
        norm: before the mixer.
        project: (out, hidden_size), queries, keys and values, or the Mamba mixer's ``in_proj``.
        project_bias: (out,) or None.
        mamba: the rest of a Mamba mixer; None for attention.
        out: from the mixer.
        mlp_norm: before the feed-forward.
        gate_up: (2 * intermediate_size, hidden_size).
        down: (hidden_size, intermediate_size).
        eps: of both norms.
    """

    norm: Tensor
    project: Tensor | ScaledWeight
    project_bias: Tensor | None
    mamba: MambaWeights | None
    out: Tensor | ScaledWeight
    mlp_norm: Tensor
    gate_up: Tensor | ScaledWeight
    down: Tensor | ScaledWeight
    eps: float

    @classmethod
    def of(cls, layer: DecoderLayer, *, share: bool) -> LayerWeights:
        """Of a layer, see `DecodeWeights.of`."""
        mixer, mlp, eps = layer.mixer, layer.mlp, layer.input_layernorm.eps
        gate_up = _joint([mlp.gate_proj, mlp.up_proj], share)[0]
        norms = layer.input_layernorm.weight.detach(), layer.post_attention_layernorm.weight.detach()
        if layer.kind == "full_attention":
            project, bias = _joint([mixer.q_proj, mixer.k_proj, mixer.v_proj], share)
            mamba, out = None, mixer.o_proj
        else:
            (project, bias), out = _joint([mixer.in_proj], share), mixer.out_proj
            taps = mixer.conv1d.weight.detach().squeeze(1).contiguous()
            rest = (mixer.conv1d.bias, mixer.dt_bias, mixer.A_log, mixer.D, mixer.norm.weight)
            mamba = MambaWeights(taps, *(t.detach() for t in rest), mixer.norm.eps, mixer.discrete)
        out, down = (_joint([linear], share)[0] for linear in (out, mlp.down_proj))
        return cls(norms[0], project, bias, mamba, out, norms[1], gate_up, down, eps)


@dataclass(frozen=True)
class DecodeWeights:
    """All weights of a decode step.

    Attributes:
        layers: one after another.
        norm: the final norm.
        eps: of the final norm.
        head: (speech_vocab_size, hidden_size).
        head_bias: (speech_vocab_size,).
        embeddings: (speech_vocab_size, hidden_size) of the speech tokens.
    """

    layers: tuple[LayerWeights, ...]
    norm: Tensor
    eps: float
    head: Tensor
    head_bias: Tensor | None
    embeddings: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, lm: SpeechLM) -> DecodeWeights:
        """Of a model, which stays as usable as it was.

        The matrices of q, k, v and of gate, up lie behind one another here. The model's parameters become views of these, so that
        nothing is held twice. A model that is being trained keeps its own parameters, and is copied.
        """
        share = not any(p.requires_grad for p in lm.parameters())
        layers = tuple(LayerWeights.of(layer, share=share) for layer in lm.model.layers)
        bias = None if lm.head_bias is None else lm.head_bias.detach()
        norm = lm.model.norm
        return cls(
            layers, norm.weight.detach(), norm.eps, lm.head_weight.detach(), bias, lm.speech_embedding.weight.detach()
        )


def _joint(maps: Sequence[nn.Linear | ScaledLinear], share: bool) -> tuple[Tensor | ScaledWeight, Tensor | None]:
    """The weights of several maps of one input behind one another, and their biases."""
    bias = None if maps[0].bias is None else _stacked([m.bias for m in maps], share)
    if isinstance(maps[0], ScaledLinear):
        return ScaledWeight(*(_stacked([m.stored[i] for m in maps], share) for i in range(2))), bias
    return _stacked([m.weight for m in maps], share), bias


def _stacked(parts: list[Tensor], share: bool) -> Tensor:
    first = parts[0]
    if len(parts) == 1:
        return first.detach()
    sizes = [len(part) for part in parts]
    # an engine before this one may have put them behind one another already
    places = [part.data_ptr() - first.data_ptr() for part in parts]
    wanted = [sum(sizes[:i]) * first.stride(0) * first.element_size() for i in range(len(parts))]
    storage = {part.untyped_storage().data_ptr() for part in parts}
    if len(storage) == 1 and places == wanted and all(part.is_contiguous() for part in parts):
        return first.detach().as_strided((sum(sizes), *first.shape[1:]), first.stride())
    joint = torch.cat([part.detach() for part in parts])
    if share:
        for part, piece in zip(parts, joint.split(sizes), strict=True):
            part.data = piece
    return joint
