"""Fundamental frequency from mel frames: five convolutions and a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mamtra.audio.convolution import Conv1d


class F0Predictor(nn.Module):
    """F0 of each mel frame; unvoiced frames come out near zero.

    Args:
        mels: mel bins.
        channels: width of the convolutions.
    """

    def __init__(self, mels: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (mels, channels, channels, channels, channels):
            layers += [weight_norm(Conv1d(inputs, channels, 3, padding=1)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Map mel (B, mels, T) to F0 in Hz (B, T), float32."""
        hidden = self.condnet(mel)
        # Half-precision Hz would quantise pitch audibly (1 Hz steps at 200 Hz in bfloat16).
        with torch.autocast(mel.device.type, enabled=False):
            weight, bias = self.classifier.weight.float(), self.classifier.bias.float()
            return F.linear(hidden.float().transpose(1, 2), weight, bias).squeeze(-1).abs()
