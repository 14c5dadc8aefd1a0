"""A read-only copy of a model's weights, packed so that one decode step takes as few and as cheap calls as possible.

On a CPU a small model's step is bound by call overhead and by reading weights, not by arithmetic. So q, k, v (and gate, up) are
one matrix here, stored with inputs as rows, which reads faster for a single vector; norm weights are multiplied into the matrix
after them; one rotary table covers q, k, v. Logits and state are those of `LanguageModel.forward` up to rounding: prefill with
the model, decode with the packed copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.attention import Attention
from mamtra.models.backbone import MLP, RMSNorm
from mamtra.models.language_model import LanguageModel
from mamtra.models.mamba import MambaMixer
from mamtra.models.state import AttentionState, DecodeState, MambaState
from mamtra.ops.conv import causal_conv1d_step
from mamtra.ops.norms import rms_floor, rms_rows


class PackedDecoder:
    """Steps of a `LanguageModel`: call it with one input per row and get the logits of the next id.

    It copies the weights: later changes of the model do not reach it, and it takes as much memory again (a quarter with
    ``int8``).
    """

    @torch.no_grad()
    def __init__(self, lm: LanguageModel, *, int8: bool = False) -> None:
        """Pack the present weights of ``lm``; the dtype and device are kept.

        Args:
            lm: the model.
            int8: store the layers' matrices as 8-bit integers with one scale per output, and multiply in bfloat16.
                Logits then differ by a few percent of their spread; where reading weights is what takes the time, steps
                are much shorter. For CPUs only.

        Raises:
            MamTraError: ``int8`` for a model with a width that is no multiple of 32.
        """
        config = lm.config
        # For other widths torch's kernel reads beyond the rows.
        if int8 and any(size % 32 for size in (config.hidden_size, config.intermediate_size, config.query_size)):
            raise MamTraError("8-bit decoding needs widths that are multiples of 32; use int8=False for this model.")
        matrix = _Int8 if int8 else _Dense
        self.mixers: list[_Attention | _Mamba] = []
        self.mlps: list[_MLP] = []
        for layer in lm.model.layers:
            pack = _Attention if layer.kind == "full_attention" else _Mamba
            self.mixers.append(pack(layer.mixer, layer.input_layernorm, matrix))
            self.mlps.append(_MLP(layer.mlp, layer.post_attention_layernorm, matrix))
        self.head = _Dense(_with_norm(lm.head_weight, lm.model.norm))
        self.head_bias = None if lm.head_bias is None else lm.head_bias.detach().clone()
        self.floor = rms_floor(config.hidden_size, config.rms_norm_eps, lm.head_weight)
        self.query_heads = config.num_attention_heads
        self.groups = config.num_key_value_heads

    @torch.no_grad()
    def __call__(self, x: Tensor, state: DecodeState) -> Tensor:
        """One step.

        Args:
            x: (B, hidden_size), the embedded input.
            state: of all positions before it; updated in place. All rows must have the same length.

        Returns:
            Logits (B, ids).

        Raises:
            MamTraError: the state is full, or its rows have different lengths.
        """
        if state.positions is not None:
            raise MamTraError(
                "A packed decoder steps only rows of one length; use LanguageModel.next_logits for padded batches."
            )
        state.reserve(1)
        at = state.length
        cos, sin = self._rotation(state.cos[at], state.sin[at])
        floor = self.floor
        for mixer, mlp, layer in zip(self.mixers, self.mlps, state.layers, strict=True):
            x = mixer(x, rms_rows(x, floor), layer, at, cos, sin)
            x = mlp(x, rms_rows(x, floor))
        state.length = at + 1
        return self.head(rms_rows(x, floor), self.head_bias)

    def _rotation(self, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for all heads of q, k and v; v is not rotated."""
        rotated = self.query_heads + self.groups
        one, zero = torch.ones_like(cos), torch.zeros_like(sin)
        return (
            torch.cat((cos.expand(rotated, -1), one.expand(self.groups, -1))),
            torch.cat((sin.expand(rotated, -1), zero.expand(self.groups, -1))),
        )


class _Dense:
    def __init__(self, weight: Tensor) -> None:
        outputs, inputs = weight.shape
        # A single row times a wide matrix is faster with the inputs as rows, times a narrow one as it is.
        self.weight = weight.t().contiguous() if outputs > inputs else weight.detach().clone().t()

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        return torch.mm(x, self.weight) if add is None else torch.addmm(add, x, self.weight)


class _Int8:
    def __init__(self, weight: Tensor) -> None:
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.weight = (weight / scale[:, None]).round().to(torch.int8)
        self.scale = scale.to(torch.bfloat16)

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        y = torch._weight_int8pack_mm(x.to(torch.bfloat16), self.weight, self.scale)
        return y if add is None else add + y


class _Attention:
    def __init__(self, mixer: Attention, norm: RMSNorm, matrix: type[_Dense | _Int8]) -> None:
        parts = (mixer.q_proj, mixer.k_proj, mixer.v_proj)
        self.qkv = matrix(_with_norm(torch.cat([p.weight for p in parts]), norm))
        self.bias = None if parts[0].bias is None else torch.cat([p.bias for p in parts])
        self.out = matrix(mixer.o_proj.weight)
        self.groups, self.head_dim = mixer.groups, mixer.head_dim
        self.query_heads = mixer.groups * mixer.repeats

    def __call__(self, x: Tensor, normed: Tensor, state: AttentionState, at: int, cos: Tensor, sin: Tensor) -> Tensor:
        batch, heads, groups, dim = x.shape[0], self.query_heads, self.groups, self.head_dim
        qkv = self.qkv(normed, self.bias).view(batch, -1, dim)
        qkv = torch.addcmul(qkv * cos, qkv.roll(dim // 2, -1), sin).to(x.dtype)
        kv = state.kv
        kv.select(3, at).copy_(qkv.narrow(1, heads, 2 * groups).view(batch, 2, groups, dim))
        k, v = kv.narrow(3, 0, at + 1).unbind(1)
        # The one query attends to the whole cache, so the query heads of a group can stand in for its queries: no copies of
        # k and v.
        q = qkv.narrow(1, 0, heads).view(batch, groups, -1, dim)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.reshape(batch, heads * dim), x)


class _Mamba:
    def __init__(self, mixer: MambaMixer, norm: RMSNorm, matrix: type[_Dense | _Int8]) -> None:
        self.discrete = mixer.discrete
        self.in_sizes, self.conv_sizes = list(mixer.in_sizes), list(mixer.conv_sizes)
        heads = self.in_sizes[-1]
        weight = _with_norm(mixer.in_proj.weight, norm)
        self.in_proj = matrix(weight)
        bias = mixer.in_proj.bias
        self.bias = weight.new_zeros(sum(self.in_sizes)) if bias is None else bias.detach().clone()
        self.bias[-heads:] += mixer.dt_bias
        self.conv = mixer.conv1d.weight.detach().squeeze(1).t().contiguous().t()  # read with the taps as rows
        self.conv_bias = mixer.conv1d.bias.detach()
        dim, repeats = mixer.head_dim, mixer.repeats
        self.grid = (heads // repeats, repeats, dim)  # groups, heads of a group, head size
        self.A = -torch.exp(mixer.A_log.float())
        self.D = mixer.D.detach().view(-1, repeats, 1)
        self.floor = rms_floor(dim, mixer.norm.eps, weight)
        self.out = matrix(mixer.out_proj.weight * (mixer.norm.weight * dim**0.5))

    def __call__(self, x: Tensor, normed: Tensor, state: MambaState, at: int, cos: Tensor, sin: Tensor) -> Tensor:
        batch = x.shape[0]
        groups, repeats, dim = self.grid
        z, xbc, dt = self.in_proj(normed, self.bias).split_with_sizes(self.in_sizes, 1)
        conv = causal_conv1d_step(xbc, state.conv, self.conv, self.conv_bias)
        if not self.discrete:
            conv = F.silu(conv, inplace=True)
        xs, B, C = conv.split_with_sizes(self.conv_sizes, 1)
        xs = xs.view(batch, groups, 1, dim)
        dt = F.softplus(dt.float())
        decay = torch.exp(dt * self.A).view(batch, groups, repeats, 1, 1)
        ssm = state.ssm.view(batch, groups, repeats, dim, dim)
        scaled = xs.expand(-1, -1, repeats, -1) if self.discrete else xs * dt.view(batch, groups, repeats, 1)
        ssm.mul_(decay).addcmul_(scaled.unsqueeze(-1), B.view(batch, groups, 1, 1, dim))
        y = (ssm * C.view(batch, groups, repeats, 1, dim)).sum(-1)
        y = torch.addcmul(y, xs, self.D).view(batch, -1, dim).to(x.dtype)
        gated = y * F.silu(z).view(batch, -1, dim)
        return self.out(rms_rows(gated, self.floor).view(batch, -1), x)


class _MLP:
    def __init__(self, mlp: MLP, norm: RMSNorm, matrix: type[_Dense | _Int8]) -> None:
        self.gate_up = matrix(_with_norm(torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)), norm))
        self.down = matrix(mlp.down_proj.weight)

    def __call__(self, x: Tensor, normed: Tensor) -> Tensor:
        gate, up = self.gate_up(normed).chunk(2, 1)
        return self.down(F.silu(gate, inplace=True).mul_(up), x)


def _with_norm(weight: Tensor, norm: RMSNorm) -> Tensor:
    """The weight (out, in) times the factors of the norm before it that `rms_rows` leaves out."""
    return weight * (norm.weight * norm.weight.shape[0] ** 0.5)
