"""Speech to discrete tokens at 25 Hz: Whisper's encoder with finite scalar quantisation (FSQ), 3^8 = 6561 tokens.

It takes the place of CosyVoice 2's supervised semantic tokenizer in the embedded voice, which quantises inside a speech recogniser
too (Du et al., "CosyVoice 2", 2024, section 2.2). What Whisper has learned of many speakers makes the tokens of new ones readable.
Layers: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), with attention limited to `reach`, so
that a token does not depend on the length of the recording. Quantiser: Mentzer et al., "Finite Scalar Quantization" (2023).
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from mamtra.audio.features import whisper_log_mel
from mamtra.encoders.framing import MARGIN, SAMPLES_PER_TOKEN, position_rates, windows
from mamtra.runtime.strict_models import ClosedModel, Size


class SpeechTokenizerConfig(ClosedModel):
    """Sizes of the encoder. `dims` digits of `levels` values make `levels ** dims` tokens.

    Attributes:
        num_mels: bands of the log-mel.
        width: of the layers.
        layers: of the transformer, at 50 Hz.
        heads: of its attention.
        inner: width within its feed-forward networks.
        reach: frames of 20 ms on both sides that attention sees.
        narrow: width behind it, at 25 Hz.
        coarse_blocks: convolutional blocks there.
        kernel: of these.
        expansion: of these, inner width over outer.
    """

    num_mels: Size = 80
    width: Size = 512
    layers: Size = 6
    heads: Size = 8
    inner: Size = 832
    reach: Size = 64
    narrow: Size = 256
    coarse_blocks: Size = 1
    kernel: Size = 7
    expansion: Size = 3
    levels: Size = 3
    dims: Size = 8

    @model_validator(mode="after")
    def _few_tokens(self) -> SpeechTokenizerConfig:
        if self.dims > 24 or self.levels**self.dims > 2**24:
            raise ValueError("levels and dims make more tokens than any model has")
        if self.width % (2 * self.heads):
            raise ValueError("width must be a multiple of twice the heads")
        return self

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary."""
        return self.levels**self.dims


def token_digits(tokens: Tensor, config: SpeechTokenizerConfig) -> Tensor:
    """Map tokens (...) int64 to their digits (..., dims) float32, centred on zero, the lowest first."""
    powers = config.levels ** torch.arange(config.dims, device=tokens.device)
    return ((tokens[..., None] // powers) % config.levels - (config.levels - 1) // 2).float()


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two pointwise layers, scaled residual (Liu et al. 2022).

    Args:
        width: channels.
        kernel: odd kernel size.
        expansion: inner width over outer.
    """

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        y = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.down(F.gelu(self.up(y))) * self.scale).transpose(1, 2)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def positions(count: int, width: int, device: torch.device) -> Tensor:
    """What tells the layers a position (count, width): sines in the first half of the channels, cosines in the second."""
    angles = torch.arange(count, device=device)[:, None] * torch.from_numpy(position_rates(width)).to(device)
    return torch.cat((angles.sin(), angles.cos()), 1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def near(count: int, reach: int, device: torch.device) -> Tensor:
    """Which positions see which (count, count) bool: those that are at most `reach` apart."""
    place = torch.arange(count, device=device)
    return (place - place[:, None]).abs() <= reach


class EncoderLayer(nn.Module):
    """A layer of Whisper's encoder, with the names of its parameters in transformers."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict({
            name: nn.Linear(width, width, bias=name != "k_proj") for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        })  # fmt: skip
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C); `seen` (T, T) bool, which positions attend to which."""
        y = self.self_attn_layer_norm(x)
        q, k, v = (self.self_attn[f"{name}_proj"](y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in "qkv")
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.self_attn["out_proj"](y.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class SpeechTokenizer(nn.Module):
    """Whisper's log-mel at 100 Hz to tokens at 25 Hz."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.inner) for _ in range(config.layers)
        )
        self.layer_norm = nn.LayerNorm(config.width)
        self.pair = nn.Conv1d(config.width, config.narrow, 2, stride=2)
        self.coarse = nn.Sequential(
            *[ConvNeXtBlock(config.narrow, config.kernel, config.expansion) for _ in range(config.coarse_blocks)]
        )
        self.norm = nn.LayerNorm(config.narrow)
        self.digits = nn.Linear(config.narrow, config.dims)
        self.register_buffer("powers", config.levels ** torch.arange(config.dims), persistent=False)

    def log_mel(self, wave: Tensor) -> Tensor:
        """What it hears of waves (B, T) at 16 kHz: (B, num_mels, T // 160)."""
        return whisper_log_mel(wave, self.config.num_mels)

    def states(self, log_mel: Tensor) -> Tensor:
        """Map log_mel (B, num_mels, 4N) to the states behind the last layer (B, 2N, width)."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(log_mel)))).transpose(1, 2)
        frames = hidden.shape[1]
        hidden = hidden + positions(frames, self.config.width, hidden.device).to(hidden.dtype)
        seen = near(frames, self.config.reach, hidden.device)
        for layer in self.layers:
            hidden = layer(hidden, seen)
        return self.layer_norm(hidden)

    def latents(self, log_mel: Tensor) -> Tensor:
        """Map log_mel (B, num_mels, 4N) to bounded latents before rounding (B, N, dims), within +-(levels - 1) / 2."""
        half = (self.config.levels - 1) / 2
        hidden = self.states(log_mel)
        hidden = self.norm(self.coarse(self.pair(hidden.transpose(1, 2))).transpose(1, 2))
        return torch.tanh(self.digits(hidden).float()) * half

    def quantise(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """For training: rounded latents (B, N, dims) with a straight-through gradient, and the latents themselves."""
        latents = self.latents(log_mel)
        return latents + (latents.round() - latents).detach(), latents

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log_mel (B, num_mels, 4N) to tokens (B, N) int64 in [0, num_tokens); a long one is heard in windows."""
        half, found = (self.config.levels - 1) // 2, []
        for heard, kept in windows(log_mel.shape[-1] // 4):
            digits = self.latents(log_mel[..., 4 * heard.start : 4 * heard.stop]).round().long() + half
            found.append((digits * self.powers).sum(-1)[:, kept.start - heard.start : kept.stop - heard.start])
        return torch.cat(found, 1)

    @torch.inference_mode()
    def tokenize(self, wave: Tensor) -> Tensor:
        """Map one utterance (T,) float in [-1, 1] at 16 kHz to tokens (ceil(T / 640),) int64."""
        count = -(-wave.numel() // SAMPLES_PER_TOKEN)
        margin = MARGIN * SAMPLES_PER_TOKEN
        padded = F.pad(wave, (margin, margin + count * SAMPLES_PER_TOKEN - wave.numel()))
        return self(self.log_mel(padded[None]))[0, MARGIN : MARGIN + count]
