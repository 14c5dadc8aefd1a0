"""Speech to discrete tokens at 25 Hz: a convolutional encoder with finite scalar quantisation (FSQ), 3^8 = 6561 tokens.

It takes the place of CosyVoice 2's supervised semantic tokenizer in the embedded voice. It is trained so that its tokens
predict the phonemes (CTC) and, given the speaker, the spectrum. Quantiser: Mentzer et al., "Finite Scalar Quantization" (2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from mamtra.audio.features import whisper_log_mel_128
from mamtra.encoders.framing import MARGIN, SAMPLES_PER_TOKEN
from mamtra.runtime.strict_models import ClosedModel, Size


class SpeechTokenizerConfig(ClosedModel):
    """Sizes of the encoder. `dims` digits of `levels` values make `levels ** dims` tokens."""

    num_mels: Size = 128
    width: Size = 256
    fine_blocks: Size = 3
    coarse_blocks: Size = 6
    kernel: Size = 7
    expansion: Size = 3
    levels: Size = 3
    dims: Size = 8

    @model_validator(mode="after")
    def _few_tokens(self) -> SpeechTokenizerConfig:
        if self.dims > 24 or self.levels**self.dims > 2**24:
            raise ValueError("levels and dims make more tokens than any model has")
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


class SpeechTokenizer(nn.Module):
    """Whisper-style log-mel at 100 Hz to tokens at 25 Hz.

    The receptive field is about a second, so tokens do not depend on the length of the utterance.
    """

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.config = config

        def blocks(count: int) -> list[nn.Module]:
            return [ConvNeXtBlock(config.width, config.kernel, config.expansion) for _ in range(count)]

        self.encoder = nn.Sequential(
            nn.Conv1d(config.num_mels, config.width, 4, stride=2, padding=1),
            *blocks(config.fine_blocks),
            nn.Conv1d(config.width, config.width, 2, stride=2),
            *blocks(config.coarse_blocks),
        )
        self.norm = nn.LayerNorm(config.width)
        self.digits = nn.Linear(config.width, config.dims)
        self.register_buffer("powers", config.levels ** torch.arange(config.dims), persistent=False)

    def latents(self, log_mel: Tensor) -> Tensor:
        """Map log_mel (B, num_mels, 4N) to bounded latents before rounding (B, N, dims), within +-(levels - 1) / 2."""
        half = (self.config.levels - 1) / 2
        hidden = self.norm(self.encoder(log_mel).transpose(1, 2))
        return torch.tanh(self.digits(hidden).float()) * half

    def quantise(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """For training: rounded latents (B, N, dims) with a straight-through gradient, and the latents themselves."""
        latents = self.latents(log_mel)
        return latents + (latents.round() - latents).detach(), latents

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log_mel (B, num_mels, 4N) to tokens (B, N) int64 in [0, num_tokens)."""
        half = (self.config.levels - 1) // 2
        return ((self.latents(log_mel).round().long() + half) * self.powers).sum(-1)

    @torch.inference_mode()
    def tokenize(self, wave: Tensor) -> Tensor:
        """Map one utterance (T,) float in [-1, 1] at 16 kHz to tokens (ceil(T / 640),) int64."""
        tokens = -(-wave.numel() // SAMPLES_PER_TOKEN)
        margin = MARGIN * SAMPLES_PER_TOKEN
        padded = F.pad(wave, (margin, margin + tokens * SAMPLES_PER_TOKEN - wave.numel()))
        return self(whisper_log_mel_128(padded[None]))[0, MARGIN : MARGIN + tokens]
