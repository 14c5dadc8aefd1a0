"""The published CAM++ for mel spectra: what a flow can be told of the speaker in the mel that it makes.

CAM++ hears filter banks of 100 frames a second; a mel of 50 says nearly the same. A small network makes the one of the other, and
both are trained together to find the embedding that CAM++ finds in the sound (train_mel_speaker.py).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig

MELS, BANKS, WIDTH = 80, 80, 256


class BankOfMel(nn.Module):
    """Mel to a filter bank of twice as many frames: a linear map of three frames, and a small network that adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv1d(MELS, 2 * BANKS, 3, padding=1)
        self.network = nn.Sequential(
            nn.Conv1d(MELS, WIDTH, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(WIDTH, 2 * BANKS, 3, padding=1),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, T, 80) at 50 frames a second to (B, 2T, 80)."""
        x = mel.transpose(1, 2)
        return (self.linear(x) + self.network(x)).transpose(1, 2).reshape(len(mel), -1, BANKS)


def centred(x: Tensor) -> Tensor:
    """Frames (B, T, C) less their mean."""
    return x - x.mean(1, keepdim=True)


class MelSpeaker(nn.Module):
    """Mel to unit speaker embedding. Its batch normalisation keeps the statistics of CAM++: it stays in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.bank, self.speaker = BankOfMel(), CAMPPlus(CAMPPlusConfig())
        self.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """Map log-mel (B, T, 80) of `mel_24k`, of one second or more, to (B, 192) of length 1."""
        return F.normalize(self.speaker(centred(self.bank(centred(mel)))).float(), dim=-1)


def load_mel_speaker(path: Path, device: str) -> MelSpeaker:
    """What train_mel_speaker.py wrote, without gradients."""
    model = MelSpeaker()
    model.load_state_dict(load_file(path))
    return model.requires_grad_(False).to(device)


def noisy(mel: Tensor, strength: Tensor | float) -> Tensor:
    """The mel with white noise of this standard deviation, which hides what nobody hears."""
    return mel + strength * torch.randn_like(mel)


def ends(mel: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """The last frames of each row. mel (B, T, M), lengths (B,) -> (B, frames, M), from the beginning where a row is shorter."""
    first = (lengths - frames).clamp(min=0)
    index = first[:, None, None] + torch.arange(frames, device=mel.device)[:, None]
    return mel.gather(1, index.expand(-1, -1, mel.shape[2]))


def speaker_distance(
    listener: MelSpeaker, mel: Tensor, lengths: Tensor, wanted: Tensor, frames: int, noise: float
) -> Tensor:
    """How far the speaker in a mel is from the wanted one: 1 less the cosine, the mean over the rows that are long enough.

    Args:
        listener: hears the speaker.
        mel: (B, T, 80).
        lengths: (B,) frames of the rows.
        wanted: (B, 192) of length 1.
        frames: so many at the end of a row are heard,
        noise: with noise of this standard deviation.
    """
    distance = 1 - (listener(noisy(ends(mel, lengths, frames), noise)) * wanted).sum(-1)
    counts = (lengths >= frames).float()
    return (distance * counts).sum() / counts.sum().clamp(min=1)
