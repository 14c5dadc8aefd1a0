"""Mamba-2 in the shape of grouped-query attention, which it replaces (MambaInLlama, arXiv 2408.15237)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mamtra.models.config import BackboneConfig, MambaForm
from mamtra.models.positions import Positions
from mamtra.models.state import MambaState
from mamtra.ops.linear import aligned_linear
from mamtra.ops.mixer import mamba_mixer


class GatedRMSNorm(nn.Module):
    """Holds the weight (query_size,) of `mamtra.ops.norms.gated_rms_norm`."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))


class MambaMixer(nn.Module):
    """Token mixer of kind ``"linear_attention"``.

    ``in_proj`` has the rows ``[z | x | B | C | dt]``: the gate z and C as wide as the queries, x and B as wide as
    values and keys, dt one per head. A causal convolution with SiLU runs over x, B, C; then x and B are repeated to all
    heads, as keys and values are in grouped-query attention. There are no rotary positions and no 1/sqrt(d): the norm
    of each head cancels scale.

    The form ``"discrete"`` follows MOHAWK's Discrete Mamba-2 (arXiv 2408.10189): the input is not scaled by the step
    and there is no SiLU after the convolution, h_t = a_t h_{t-1} + x_t B_t^T. Without decay this is the linear
    attention of MamTra's Eq. 4 itself. It keeps the norm and the parameters of ``"mamba2"``.

    Attributes:
        use_triton: train with Triton kernels, see `mamtra.ops.mixer.mamba_mixer`.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        heads, inner, shared = config.num_attention_heads, config.query_size, config.key_value_size
        self.head_dim = config.head_dim
        self.repeats = heads // config.num_key_value_heads
        self.chunk_size = config.mamba_chunk_size
        self.discrete = config.mamba_form == "discrete"
        self.use_triton = False
        self.in_sizes = (inner, inner + 2 * shared, heads)
        self.conv_sizes = (shared, shared, inner)
        channels = config.mamba_conv_size
        self.in_proj = nn.Linear(config.hidden_size, sum(self.in_sizes), bias=config.mamba_qkv_bias)
        self.conv1d = nn.Conv1d(channels, channels, config.mamba_conv_kernel, groups=channels)
        self.dt_bias = nn.Parameter(torch.zeros(heads))
        self.A_log = nn.Parameter(torch.zeros(heads))
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedRMSNorm(inner, config.mamba_norm_eps)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, positions: Positions, state: MambaState | None = None) -> Tensor:
        """Mix (B, L, hidden_size) along L; ``state`` is read and updated in place where there is one."""
        training = state is None and torch.is_grad_enabled()
        y = mamba_mixer(
            self._project(hidden, aligned=training and hidden.device.type == "cuda"),
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            self.dt_bias,
            self.A_log,
            self.D,
            self.norm.weight,
            head_dim=self.head_dim,
            eps=self.norm.eps,
            discrete=self.discrete,
            chunk_size=self.chunk_size,
            state=None if state is None else (state.conv, state.ssm),
            lengths=positions.lengths,
            valid=positions.valid,
            use_triton=self.use_triton,
        )
        return self.out_proj(y)

    def _project(self, hidden: Tensor, *, aligned: bool) -> Tensor:
        """(B, L, in_sizes together), padded with further channels to a fast width where ``aligned``."""
        if not aligned or type(self.in_proj) is not nn.Linear:  # an adapter (LoRA) in its place computes more
            return self.in_proj(hidden)
        return aligned_linear(hidden, self.in_proj.weight, self.in_proj.bias)


def init_dynamics(
    heads: int, generator: torch.Generator | None = None, form: MambaForm = "mamba2"
) -> dict[str, Tensor]:
    """Random initialisation, as in Mamba-2 (arXiv 2405.21060), of the parameters that have no counterpart in attention.

    Args:
        heads: heads of the mixer.
        generator: of the random numbers.
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
