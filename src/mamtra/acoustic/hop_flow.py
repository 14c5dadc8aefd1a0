"""The flow for one hop of many streams: from the next tokens of each to the mel of a chunk. Nothing is read on the host."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.flow_matching import fixed_noise_on
from mamtra.acoustic.fused_estimator import FusedEstimator
from mamtra.acoustic.hop_cache import EstimatorHop
from mamtra.acoustic.hop_encoder import encode_hop
from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.masks import valid_positions
from mamtra.ops.places import Places


@dataclass(frozen=True)
class HopInputs:
    """What the streams of a hop are given; int64 tensors on the device.

    Attributes:
        rows: (B,) rows of the streams in the pool.
        tokens: (B, chunk + lookahead) the next tokens, then any.
        known: (B,) how many of them there are; more than `places.fresh` are look-ahead.
        offset: (B,) tokens of the stream before these, those of the prompt included.
        given: (B,) which of the pool's three blocks of prompt mel belongs to the hop.
        places: of the pages, in tokens.
    """

    rows: Tensor
    tokens: Tensor
    known: Tensor
    offset: Tensor
    given: Tensor
    places: Places


def hop_flow(flow: Flow, dtype: torch.dtype, steps: int) -> Flow:
    """The same flow with weights of a type, for hops of so many evaluations by `flow_hop`; weights of that type are shared."""
    with torch.device("meta"):
        other = type(flow)(flow.config)
    other.load_state_dict({name: value.to(dtype) for name, value in flow.state_dict().items()}, assign=True)
    other.eval().requires_grad_(False)
    times = torch.stack([time for time, _ in other.decoder.times(steps, other.encoder_proj.weight.device)])
    other.decoder.run_by(FusedEstimator(other.decoder.estimator, times))
    return other


def flow_hop(flow: Flow, pool: HopPool, hop: HopInputs, guidance: float | None = None) -> Tensor:
    """Mel (B, mel, frames) float32 of a hop; of the frames of missing tokens it is undefined.

    Args:
        flow: from `hop_flow`.
        pool: of the streams, updated in place.
        hop: of different rows, except for row 0.
        guidance: as in `CausalFlow.inference`.
    """
    sizes = pool.sizes
    encoder = flow.encoder
    known = valid_positions(hop.known, hop.tokens.shape[1])[:, :, None]
    embedded = encoder.embed(flow.input_embedding(hop.tokens)) * known
    hidden = encode_hop(encoder, embedded, pool, hop.rows, hop.places, hop.offset)
    mu = flow.encoder_proj(hidden).transpose(1, 2).contiguous()
    frame = hop.offset[:, None] * sizes.ratio + torch.arange(sizes.frames, device=mu.device)
    kept = EstimatorHop(pool, hop.rows, hop.places.at(sizes.ratio))
    mel = flow.decoder.sample(
        mu, None, pool.speaker[hop.rows], pool.given[hop.rows, hop.given], steps=sizes.steps, guidance=guidance,
        noise=fixed_noise_on(mu.device, sizes.mel)[0][:, frame].transpose(0, 1), cache=kept,
    )  # fmt: skip
    kept.store()
    return mel
