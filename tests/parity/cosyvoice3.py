"""Vectors of CosyVoice 3's flow and vocoder, made by the original code: small modules, their inputs, and what is compared.

The original takes part only in `tests.parity.make_cosyvoice3`; this file describes what both sides compute. Weights and inputs
come from names and shapes (`tests.parity.fixture.seeded`), so a fixture holds outputs alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamtra.acoustic.causal_hift import CausalHiFTConfig
from mamtra.acoustic.dit_flow import DiTFlowConfig
from tests.parity.fixture import integers, normal, random_state

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "cosyvoice3"
FREQUENCIES = "decoder.estimator.rotary_embed.inv_freq"
"""A constant that the release stores with the weights."""
FLOW = DiTFlowConfig(
    vocab_size=50, spk_embed_dim=8, lookahead_channels=24, dit_width=32, dit_depth=2, dit_heads=4, dit_head_dim=8, chunk_size=5
)  # fmt: skip
VOCODER = CausalHiFTConfig(base_channels=16, f0_channels=8)
PROMPT, TOKENS, FRAMES = 7, 16, 40
MELS = {"full": (False, True), "stream": (True, True), "stream_lookahead": (True, False), "lookahead": (False, False)}
"""By name whether attention is masked by chunks, and whether the tokens are the last ones."""
PADDED = (13, 20)
"""Frames of the rows of a padded batch."""
HOPS = (15, 29)
"""Frames after which the original's vocoder gives samples of a stream."""
NOISE_AT = (0, 1, 479, 100_000, 239_999, 240_000, 700_000)
"""Samples whose fixed noise is kept."""


def flow_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, and tokens, mel and embedding of the prompt."""
    prompt = integers("prompt", FLOW.vocab_size, 1, PROMPT)
    voice = (prompt, normal("prompt mel", 1, 2 * PROMPT, 80), normal("speaker", 1, FLOW.spk_embed_dim))
    return integers("token", FLOW.vocab_size, 1, TOKENS), *voice


def estimator_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, valid, mu, t, spks, cond of a padded batch."""
    frames = max(PADDED)
    x, mu, cond = (normal(name, len(PADDED), 80, frames) for name in ("x", "mu", "cond"))
    valid = torch.arange(frames) < torch.tensor(PADDED)[:, None]
    return x, valid, mu, torch.tensor([0.1, 0.7]), normal("spks", len(PADDED), 80), cond


def mel_input() -> Tensor:
    """(1, 80, FRAMES) log-mel-like."""
    return 2 * normal("mel", 1, 80, FRAMES) - 3


def uniform_noise(samples: int) -> Tensor:
    """(1, samples, 9) in [0, 1), in place of the fixed noise."""
    return torch.from_numpy(random_state("uniform").random_sample((1, samples, 9)).astype(np.float32))


def vocoder_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Seeded weights changed so that F0 varies between unvoiced and 300 Hz, and the decoder is tame enough to compare numbers."""
    bias, weight = "f0_predictor.classifier.bias", "f0_predictor.classifier.weight"
    gains = {name: 0.4 * value for name, value in state.items() if name.endswith("original0") and "f0" not in name}
    return {**state, **gains, bias: torch.full_like(state[bias], 90.0), weight: 150 * state[weight]}
