"""Mamba-2 in the shape of grouped-query attention, which it replaces (MambaInLlama, arXiv 2408.15237)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.models.attention import Span
from mamtra.models.config import BackboneConfig, MambaForm
from mamtra.models.state import MambaState
from mamtra.ops.conv import causal_conv1d, causal_conv1d_silu
from mamtra.ops.linear import aligned_linear
from mamtra.ops.norms import gated_rms_norm
from mamtra.ops.ssd import repeat_heads, ssd


class GatedRMSNorm(nn.Module):
    """Holds the weight (d_inner,) of the per-head gated norm."""

    def __init__(self, size: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """See `mamtra.ops.norms.gated_rms_norm`."""
        return gated_rms_norm(y, z, self.weight, self.eps, self.head_dim)


class MambaMixer(nn.Module):
    """Token mixer of kind ``"linear_attention"``.

    ``in_proj`` has the rows ``[z | x | B | C | dt]``: the gate z and C as wide as the queries, x and B as wide as
    values and keys, dt one per head. A causal convolution with SiLU runs over x, B, C; then x and B are repeated to all
    heads, as keys and values are in grouped-query attention. There are no rotary positions and no 1/sqrt(d): the norm
    of each head cancels scale.

    The form ``"discrete"`` follows MOHAWK's Discrete Mamba-2 (arXiv 2408.10189): the input is not scaled by the step
    and nothing bends x, B, C behind the convolution, h_t = a_t h_{t-1} + x_t B_t^T. Without decay this is the linear
    attention of MamTra's Eq. 4 itself. It keeps the norm and the parameters of ``"mamba2"``.

    Attributes:
        kernels: learn with `mamtra.ops.mixer_triton`, for which there must be a graphics card; the form ``"discrete"`` and
            left-padded rows do without.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        heads, inner, shared = config.num_attention_heads, config.query_size, config.key_value_size
        self.head_dim = config.head_dim
        self.repeats = heads // config.num_key_value_heads
        self.chunk_size = config.mamba_chunk_size
        self.discrete = config.mamba_form == "discrete"
        self.kernels = False
        self.in_sizes = (inner, inner + 2 * shared, heads)
        self.conv_sizes = (shared, shared, inner)
        channels = config.mamba_conv_size
        self.in_proj = nn.Linear(config.hidden_size, sum(self.in_sizes), bias=config.mamba_qkv_bias)
        self.conv1d = nn.Conv1d(channels, channels, config.mamba_conv_kernel, groups=channels)
        self.dt_bias = nn.Parameter(torch.zeros(heads))
        self.A_log = nn.Parameter(torch.zeros(heads))
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedRMSNorm(inner, config.head_dim, config.mamba_norm_eps)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, span: Span, state: MambaState | None = None) -> Tensor:
        """Mix (B, L, hidden_size) along L; ``state`` is read and moved on where there is one."""
        learning = state is None and torch.is_grad_enabled()
        projected = self._project(hidden, aligned=learning and hidden.device.type == "cuda")
        if self.kernels and learning and not self.discrete and span.valid is None:
            return self.out_proj(self._mix_by_kernels(projected))
        z, xbc, dt = projected[..., : sum(self.in_sizes)].split(self.in_sizes, -1)
        padding = None if span.valid is None else ~span.valid[..., None]
        if padding is not None:
            xbc = xbc.masked_fill(padding, 0)  # as a sequence that begins behind it sees what was before
        taps, bias = self.conv1d.weight.squeeze(1), self.conv1d.bias
        if learning and not self.discrete:
            parts = causal_conv1d_silu(xbc, taps, bias, self.conv_sizes)
        else:
            past = None if state is None else state.conv
            conv, conv_state = causal_conv1d(xbc, taps, bias, past, span.lengths)
            parts = (conv if self.discrete else F.silu(conv)).split(self.conv_sizes, -1)
        if padding is not None:  # the convolution has a bias; nothing of it may enter the memory
            parts = [part.masked_fill(padding, 0) for part in parts]
        x, B, C = (part.to(z.dtype) for part in parts)
        x, dt = self._heads(x), F.softplus(dt.float() + self.dt_bias.float())
        if self.discrete:
            x = repeat_heads(x, dt.shape[-1])
        y, ssm_state = ssd(
            (x / dt[..., None]).to(x.dtype) if self.discrete else x,  # the recurrence multiplies by dt again
            dt,
            # In half precision exp(A_log) would lose most of its digits.
            -torch.exp(self.A_log.float()),
            self._heads(B),
            self._heads(C),
            torch.zeros_like(self.D) if self.discrete else self.D,
            None if state is None else state.ssm,
            lengths=span.lengths,
            chunk_size=self.chunk_size,
        )
        if self.discrete:
            y = (y + self.D[:, None] * x).to(x.dtype)
        if state is not None:
            state.conv.copy_(conv_state)
            state.ssm.copy_(ssm_state)
        return self.out_proj(self.norm(y.flatten(2), z))

    def _project(self, hidden: Tensor, *, aligned: bool) -> Tensor:
        """The rows of ``in_proj``, with anything behind them where they are to be aligned."""
        if not aligned or type(self.in_proj) is not nn.Linear:  # adapters in its place do more than multiply
            return self.in_proj(hidden)
        return aligned_linear(hidden, self.in_proj.weight, self.in_proj.bias)

    def _mix_by_kernels(self, projected: Tensor) -> Tensor:
        from mamtra.ops.mixer_triton import mixer_triton  # there is no Triton without a graphics card

        return mixer_triton(
            projected,
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            self.dt_bias,
            self.A_log,
            self.D,
            self.norm.weight,
            head_dim=self.head_dim,
            eps=self.norm.eps,
        )

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))


def draw_dynamics(
    heads: int, generator: torch.Generator | None = None, form: MambaForm = "mamba2"
) -> dict[str, Tensor]:
    """The parameters that have no counterpart in attention, drawn as Mamba-2 does (arXiv 2405.21060).

    Args:
        heads: heads of the mixer.
        generator: source of the draws.
        form: of the mixer; ``"discrete"`` has A = -1 as MOHAWK has.

    Returns:
        float32 tensors (heads,) by parameter name: ``dt_bias`` with softplus(dt_bias) log-uniform in [0.001, 0.1],
        ``A_log`` uniform in [0, log 16] or 0, ``D`` ones.
    """
    low, high = math.log(0.001), math.log(0.1)
    dt = torch.exp(low + (high - low) * torch.rand(heads, generator=generator))
    return {
        "dt_bias": dt + torch.log(-torch.expm1(-dt)),  # inverse of softplus
        "A_log": torch.zeros(heads) if form == "discrete" else torch.rand(heads, generator=generator) * math.log(16.0),
        "D": torch.ones(heads),
    }
