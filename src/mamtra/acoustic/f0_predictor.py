"""Fundamental frequency from mel frames: five convolutions and a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mamtra.acoustic.convolution import Conv1d
from mamtra.acoustic.masks import hide


class F0Predictor(nn.Module):
    """F0 of each mel frame; unvoiced frames come out near zero."""

    def __init__(self, mels: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (mels, channels, channels, channels, channels):
            layers += [weight_norm(Conv1d(inputs, channels, 3, padding=1)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map mel (B, mels, T) to F0 in Hz (B, T), float32; where `mask` (B, 1, T) is False, F0 is 0."""
        hidden = hide(mel, mask)
        for layer in self.condnet:
            hidden = hide(layer(hidden), mask)
        # Half-precision Hz would quantise pitch audibly (1 Hz steps at 200 Hz in bfloat16).
        with torch.autocast(mel.device.type, enabled=False):
            weight, bias = self.classifier.weight.float(), self.classifier.bias.float()
            f0 = F.linear(hidden.float().transpose(1, 2), weight, bias).squeeze(-1).abs()
            return f0 if mask is None else f0 * mask[:, 0]
