"""How much a model needs the attention of each layer: cosine and KL criteria, and models with layers replaced.

Neither MamTra (arXiv 2603.12342) nor MambaInLlama publishes its measure. Cosine is the block influence of ShortGPT
(arXiv 2403.03853); KL compares the predictions of the model with and without the attention of a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.conversion.options import TransferOptions
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.errors import MamTraError
from mamtra.models.backbone import DecoderLayer
from mamtra.models.layout import IGNORE, PAD, Batch
from mamtra.models.plan import LayerPlan
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM

Part = Literal["block", "attention"]
Replacement = Literal["identity", "mamba"]


def all_replaced(lm: SpeechLM, how: Replacement, seed: int = 0) -> SpeechLM:
    """The model with all of its attention replaced, to take single layers from.

    Args:
        lm: the model, which is not changed.
        how: ``identity`` drops what attention adds to the residual stream (the output projection becomes zero,
            all other tensors are shared); ``mamba`` puts the freshly converted mixer in its place.
        seed: of the random parameters of the conversion. All layers are converted at once, so that a layer's mixer does
            not depend on which others are replaced.

    Raises:
        MamTraError: the model has no attention, or cannot be converted.
    """
    layers = lm.config.plan.attention_layers
    if not layers:
        raise MamTraError("All layers of this model are Mamba already; there is no attention left to rank.")
    if how == "mamba":
        plan = LayerPlan.explicit(lm.config.num_hidden_layers, ())
        generator = torch.Generator().manual_seed(seed)
        options = TransferOptions(qkv_bias="keep" if lm.config.mamba_qkv_bias else "drop")
        return convert_attention_to_mamba(lm, plan, options, generator=generator)[0]
    tensors = dict(lm.state_dict())
    for i in layers:
        name = f"model.layers.{i}.self_attn.o_proj.weight"
        tensors[name] = torch.zeros_like(tensors[name])
    return _assembled(lm, lm.config.layer_types, tensors)


def with_layers(lm: SpeechLM, replaced: SpeechLM, layers: Collection[int]) -> SpeechLM:
    """The model with some layers of another one, from which it differs in nothing else; weights are shared, not copied."""
    kinds = tuple(
        theirs if i in layers else mine
        for i, (mine, theirs) in enumerate(zip(lm.config.layer_types, replaced.config.layer_types, strict=True))
    )
    theirs = tuple(f"model.layers.{i}." for i in layers)
    tensors = {name: tensor for name, tensor in lm.state_dict().items() if not name.startswith(theirs)}
    tensors |= {name: tensor for name, tensor in replaced.state_dict().items() if name.startswith(theirs)}
    return _assembled(replaced, kinds, tensors)


def _assembled(like: SpeechLM, kinds: Sequence[str], tensors: dict[str, Tensor]) -> SpeechLM:
    with torch.device("meta"):
        lm = SpeechLM(like.config.model_copy(update={"layer_types": tuple(kinds)}))
    lm.load_state_dict(tensors, strict=True, assign=True)
    return lm.eval().requires_grad_(False)


def stack(lm: SpeechLM, replaced: SpeechLM | None, layers: Collection[int]) -> list[DecoderLayer]:
    """The layers of ``lm``, those in ``layers`` taken from ``replaced``."""
    return [replaced.model.layers[i] if i in layers else layer for i, layer in enumerate(lm.model.layers)]


@torch.inference_mode()
def block_influence(
    lm: SpeechLM, layers: Sequence[DecoderLayer], batches: Sequence[Batch], part: Part = "block"
) -> list[float]:
    """1 - cos(residual stream before, after), averaged over all positions, of each layer.

    Args:
        lm: the model that embeds the inputs.
        layers: used in place of its own, see `stack`.
        batches: calibration sequences.
        part: ``block`` is the whole layer, ``attention`` only its token mixer with its residual connection.

    Returns:
        One value a layer, 0 (direction unchanged) to 2.
    """
    total, count = [0.0] * len(layers), 0
    for batch in batches:
        kind, ids = (t.to(lm.head_weight.device) for t in (batch.kind, batch.ids))
        valid = kind != PAD
        hidden = lm.embed(kind, ids)
        positions = Positions.from_zero(kind.shape[1], lm.config, kind.device)
        for i, layer in enumerate(layers):
            after = layer(hidden, positions)
            other = after if part == "block" else hidden + layer.mixer(layer.input_layernorm(hidden), positions)
            cosine = F.cosine_similarity(hidden.float(), other.float(), dim=-1)
            total[i] += (1 - cosine)[valid].sum().item()
            hidden = after
        count += int(valid.sum())
    return [value / count for value in total]


@torch.inference_mode()
def divergence(
    lm: SpeechLM, layers: Sequence[DecoderLayer], replaced: SpeechLM, batches: Sequence[Batch], wanted: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """KL(model || model with one more layer replaced) in nats, averaged over the positions that predict speech tokens.

    Layers before the replaced one are computed once: the residual stream advances layer by layer, and at each wanted layer a
    branch with that layer replaced runs to the end.

    Args:
        lm: the unchanged model, whose predictions are the first argument of the divergence.
        layers: used in place of its own, see `stack`.
        replaced: the model whose layers are put in, see `all_replaced`.
        batches: calibration sequences.
        wanted: layers to measure, ascending.

    Yields:
        layer and divergence, as soon as it is computed.
    """
    device = lm.head_weight.device
    predicting = [(batch.targets != IGNORE).to(device) for batch in batches]
    streams = [lm.embed(batch.kind.to(device), batch.ids.to(device)) for batch in batches]
    positions_of_batches = [Positions.from_zero(x.shape[1], lm.config, device) for x in streams]
    goals = [lm(x)[where] for x, where in zip(streams, predicting, strict=True)]
    count = sum(len(goal) for goal in goals)
    for i in range(max(wanted, default=-1) + 1):
        if i in wanted:
            branch = [replaced.model.layers[i], *layers[i + 1 :]]
            total = 0.0
            for x, positions, where, goal in zip(streams, positions_of_batches, predicting, goals, strict=True):
                for layer in branch:
                    x = layer(x, positions)
                total += _summed_kl(lm.logits(goal), lm.logits(lm.model.norm(x[where])))
            yield i, total / count
        streams = [layers[i](x, positions) for x, positions in zip(streams, positions_of_batches, strict=True)]


def _summed_kl(p: Tensor, q: Tensor) -> float:
    """Sum over rows of KL(softmax p || softmax q), logits (N, V)."""
    return F.kl_div(q.float().log_softmax(-1), p.float().log_softmax(-1), reduction="sum", log_target=True).item()
