"""The layers of `Estimator` in fewer kernels, for inference."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.estimator import CausalBlock, CausalConv1d, Estimator, SelfAttention, TransformerBlock, embed_time
from mamtra.acoustic.masks import additive, attention_mask, hide
from mamtra.ops.fused_norm import add_norm, norm_mish, windows
from mamtra.ops.length_attention import length_attention
from mamtra.ops.linear_act import linear_act


class Inputs(Protocol):
    """What the layers ask of the cache of a call: `mamtra.acoustic.hop_cache.EstimatorHop`, `Whole`.

    Attributes:
        slot: evaluation of the vector field.
    """

    slot: int

    def before(self, layer: CausalConv1d, x: Tensor) -> Tensor:
        """(B, context, C) inputs of a convolution before its new ones (B, T, C)."""

    def attend(self, layer: SelfAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from new positions (B, heads, T, D) to all that are visible."""

    def store_step(self) -> None:
        """All layers were called."""


class Whole:
    """The cache of a pass over all frames.

    Args:
        valid: (B, T) bool of unpadded frames, or None when nothing is padded.
        chunk: chunk length in frames; 0 attends everywhere.
        x: the layers' input, for its size, device and dtype.
    """

    def __init__(self, valid: Tensor | None, chunk: int, x: Tensor) -> None:
        whole = valid is not None and chunk == 0
        self._lengths = valid.sum(1) if whole else None
        self._mask = None if whole else additive(attention_mask(x.shape[2], valid, chunk, x.device), x.dtype)
        self._zeros: dict[int, Tensor] = {}
        self.slot = 0

    def before(self, layer: CausalConv1d, x: Tensor) -> Tensor:
        """See `Inputs`; there is nothing before them."""
        if x.shape[2] not in self._zeros:
            self._zeros[x.shape[2]] = x.new_zeros(len(x), layer.context, x.shape[2])
        return self._zeros[x.shape[2]]

    def attend(self, layer: SelfAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Inputs`."""
        if self._lengths is not None:
            return length_attention(q, k, v, self._lengths)
        return F.scaled_dot_product_attention(q, k, v, self._mask)

    def store_step(self) -> None:
        """See `Inputs`."""


class FusedEstimator:
    """Calls an estimator with the arguments and results of `Estimator.forward`, in inference.

    Queries, keys and values are one product; what stands around a LayerNorm is computed with it. As no layer sees later positions
    but attention, padding needs no other mask than that of its scores.

    Args:
        estimator: in evaluation mode, at its place.
        times: (S,) or (S, 2) of all evaluations, see `Estimator.forward`, so that what depends on them alone is computed once;
            None where they are not known.
    """

    def __init__(self, estimator: Estimator, times: Tensor | None = None) -> None:
        self._net = estimator
        down, up = estimator.down_blocks[0], estimator.up_blocks[0]
        self._stages = [down, *estimator.mid_blocks, up]
        shifts = [stage[0].mlp["1"] for stage in self._stages]
        convolutions = [module for module in estimator.modules() if isinstance(module, CausalConv1d)]
        blocks = [module for module in estimator.modules() if isinstance(module, TransformerBlock)]
        with torch.inference_mode(False), torch.no_grad():
            self._shift = _joined(shifts)
            self._taps = {layer: layer.weight.transpose(1, 2).flatten(1).contiguous() for layer in convolutions}
            self._shifts = None if times is None else self._shifts_at(times)
            self._joint = {block: _joined([block.attn1.to_q, block.attn1.to_k, block.attn1.to_v]) for block in blocks}

    def __call__(
        self,
        x: Tensor,
        valid: Tensor | None,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        chunk: int = 0,
        cache: Inputs | None = None,
        offset: int = 0,
    ) -> Tensor:
        """See `Estimator.forward`; all rows are at one flow time, where the times are known that of the cache's slot, and the hops
        of a cache are of one chunk."""
        net, frames = self._net, x.shape[2]
        cache = cache or Whole(valid, chunk, x)
        shifts = self._shifts_at(t[:1])[0] if self._shifts is None else self._shifts[cache.slot]
        given = torch.cat([x, mu, spks[:, :, None].expand(-1, -1, frames), cond], dim=1)
        x = self._stage(0, given.transpose(1, 2).contiguous(), shifts[0], cache)
        skip = x
        x = self._convolve(net.down_blocks[0][2], x, cache)
        last = len(self._stages) - 1
        for number in range(1, last):
            x = self._stage(number, x, shifts[number], cache)
        x = self._stage(last, torch.cat([x, skip], dim=2), shifts[last], cache)
        x = self._block(net.final_block, self._convolve(net.up_blocks[0][2], x, cache), None, cache)
        cache.store_step()
        return hide(_project(net.final_proj, x).transpose(1, 2), None if valid is None else valid[:, None])

    def _shifts_at(self, times: Tensor) -> list[tuple[Tensor, ...]]:
        """What each stage adds at some times."""
        time = F.mish(embed_time(times, self._net.time_mlp, self._net.length_mlp))
        return [row.chunk(len(self._stages)) for row in F.linear(time, *self._shift)]

    def _stage(self, number: int, x: Tensor, shift: Tensor, cache: Inputs) -> Tensor:
        resnet, blocks = self._stages[number][0], self._stages[number][1]
        y = self._block(resnet.block2, self._block(resnet.block1, x, shift, cache), None, cache)
        x = _project(resnet.res_conv, x)
        for block in blocks:
            x, normed = add_norm(x, y, block.norm1)
            layer, out, widen, narrow = block.attn1, block.attn1.to_out[0], block.ff.net["0"].proj, block.ff.net["2"]
            q, k, v = linear_act(normed, *self._joint[block]).unflatten(-1, (3, *layer.split)).permute(2, 0, 3, 1, 4)
            attended = cache.attend(layer, q, k, v).transpose(1, 2).flatten(2)
            x, normed = add_norm(x, linear_act(attended, out.weight, out.bias), block.norm3)
            y = linear_act(linear_act(normed, widen.weight, widen.bias, gelu=True), narrow.weight, narrow.bias)
        return x + y

    def _block(self, block: CausalBlock, x: Tensor, shift: Tensor | None, cache: Inputs) -> Tensor:
        return norm_mish(self._convolve(block.block["0"], x, cache), block.block["2"], shift)

    def _convolve(self, layer: CausalConv1d, x: Tensor, cache: Inputs) -> Tensor:
        return linear_act(windows(x, cache.before(layer, x)), self._taps[layer], layer.bias)


def _joined(layers: list[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    biases = [layer.bias for layer in layers]
    return torch.cat([layer.weight for layer in layers]), None if biases[0] is None else torch.cat(biases)


def _project(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of one position, over (B, T, C)."""
    return linear_act(x, layer.weight.squeeze(2), layer.bias)
