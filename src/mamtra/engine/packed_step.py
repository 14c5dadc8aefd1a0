"""A read-only copy of a model's weights, packed so that one decode step is as few and as cheap calls as possible.

On a CPU a thin model's step is bound by the overhead of calls and by reading weights, not by arithmetic. So here q, k,
v (gate, up) are one matrix, stored with inputs as rows, which reads faster for a single vector; norm weights are
multiplied into the matrix after them; RoPE tables cover q, k, v at once. The numbers are those of `LanguageModel.forward`
up to rounding, and so is the state: prefill with the model, continue with the packed copy.
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

    It copies the weights: it needs as much memory again and does not follow later changes of the model. Dtype and device are
    kept.

    Args:
        lm: the model.
    """

    @torch.no_grad()
    def __init__(self, lm: LanguageModel) -> None:
        config = lm.config
        self.mixers: list[_Attention | _Mamba] = []
        self.mlps: list[_MLP] = []
        for layer in lm.model.layers:
            pack = _Attention if layer.kind == "full_attention" else _Mamba
            self.mixers.append(pack(layer.mixer, layer.input_layernorm))
            self.mlps.append(_MLP(layer.mlp, layer.post_attention_layernorm))
        self.head = _Dense(_after_norm(lm.head_weight, lm.model.norm))
        self.head_bias = None if lm.head_bias is None else lm.head_bias.detach().clone()
        self.floor = rms_floor(config.hidden_size, config.rms_norm_eps, lm.head_weight)
        self.query_heads = config.num_attention_heads
        self.groups = config.num_key_value_heads

    @torch.no_grad()
    def __call__(self, x: Tensor, state: DecodeState) -> Tensor:
        """Make one step.

        Args:
            x: (B, H) embedded inputs.
            state: after the same number of positions in every row; updated in place.

        Returns:
            (B, V) logits.

        Raises:
            MamTraError: the state is full, or its rows differ in length.
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
        """RoPE rows for all heads of q, k and v; those of v are the identity."""
        rotated = self.query_heads + self.groups
        one, zero = torch.ones_like(cos), torch.zeros_like(sin)
        return (
            torch.cat((cos.expand(rotated, -1), one.expand(self.groups, -1))),
            torch.cat((sin.expand(rotated, -1), zero.expand(self.groups, -1))),
        )


class _Dense:
    def __init__(self, weight: Tensor) -> None:
        outputs, inputs = weight.shape
        # A single row is multiplied faster by a wide matrix with the inputs as rows, by a narrow one as stored.
        self.weight = weight.t().contiguous() if outputs > inputs else weight.detach().clone().t()

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        return torch.mm(x, self.weight) if add is None else torch.addmm(add, x, self.weight)


class _Attention:
    def __init__(self, mixer: Attention, norm: RMSNorm) -> None:
        parts = (mixer.q_proj, mixer.k_proj, mixer.v_proj)
        self.qkv = _Dense(_after_norm(torch.cat([p.weight for p in parts]), norm))
        self.bias = None if parts[0].bias is None else torch.cat([p.bias for p in parts])
        self.out = _Dense(mixer.o_proj.weight)
        self.groups, self.head_dim = mixer.groups, mixer.head_dim
        self.query_heads = mixer.groups * mixer.repeats

    def __call__(self, x: Tensor, normed: Tensor, state: AttentionState, at: int, cos: Tensor, sin: Tensor) -> Tensor:
        batch, heads, groups, dim = x.shape[0], self.query_heads, self.groups, self.head_dim
        qkv = self.qkv(normed, self.bias).view(batch, -1, dim)
        qkv = torch.addcmul(qkv * cos, qkv.roll(dim // 2, -1), sin).to(x.dtype)
        kv = state.kv
        kv.select(3, at).copy_(qkv.narrow(1, heads, 2 * groups).view(batch, 2, groups, dim))
        k, v = kv.narrow(3, 0, at + 1).unbind(1)
        # One query attends to all cached keys, so the query heads of a group can be passed as its queries: no copies of
        # k and v.
        q = qkv.narrow(1, 0, heads).view(batch, groups, -1, dim)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.reshape(batch, heads * dim), x)


class _Mamba:
    def __init__(self, mixer: MambaMixer, norm: RMSNorm) -> None:
        self.discrete = mixer.discrete
        self.in_sizes, self.conv_sizes = list(mixer.in_sizes), list(mixer.conv_sizes)
        heads = self.in_sizes[-1]
        weight = _after_norm(mixer.in_proj.weight, norm)
        self.in_proj = _Dense(weight)
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
        self.out = _Dense(mixer.out_proj.weight * (mixer.norm.weight * dim**0.5))

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
    def __init__(self, mlp: MLP, norm: RMSNorm) -> None:
        self.gate_up = _Dense(_after_norm(torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)), norm))
        self.down = _Dense(mlp.down_proj.weight)

    def __call__(self, x: Tensor, normed: Tensor) -> Tensor:
        gate, up = self.gate_up(normed).chunk(2, 1)
        return self.down(F.silu(gate, inplace=True).mul_(up), x)


def _after_norm(weight: Tensor, norm: RMSNorm) -> Tensor:
    """Multiply into (out, in) the weight and the factor that `rms_rows` leaves out of the norm before it."""
    return weight * (norm.weight * norm.weight.shape[0] ** 0.5)
