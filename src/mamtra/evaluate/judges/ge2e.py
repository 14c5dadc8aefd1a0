"""The GE2E voice encoder (arXiv 1710.10467) with the weights of the package resemblyzer, without what that package imports."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mamtra.audio.features import slaney_filterbank
from mamtra.audio.io import resample
from mamtra.errors import MamTraError
from mamtra.runtime.device import pick_device

RATE = 16000
HOP, FRAMES, MELS = 160, 160, 40
"""Samples between frames, frames of a window (1.6 s), mel bins."""
STEP = round(RATE / 1.3 / HOP)
"""Frames between two windows: 1.3 windows a second."""
COVERED = 0.75
"""Fraction of the last window that must be sound."""
PEAK = 0.5
"""Loudness that the network was trained on."""


class GE2E(nn.Module):
    """Power mel frames (N, frames, 40) -> unit vectors (N, 256): three LSTM layers, the last state through a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mel: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(mel)
        return nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=1)


class Resemblyzer:
    """SpeakerEncoder by resemblyzer's network: the mean over windows of 1.6 s.

    Args:
        weights: another file of weights than the package's.
        device: see `mamtra.runtime.device.pick_device`.

    Raises:
        MamTraError: the package is missing, or the weights are.
    """

    BATCH = 2048

    def __init__(self, weights: str | None = None, device: str | torch.device = "cpu") -> None:
        self._device = pick_device(device)
        file = Path(weights) if weights else _of_package()
        if not file.is_file():
            raise MamTraError(f"There is no file of Resemblyzer weights {file}.")
        self._model = GE2E().eval()
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
            wanted = self._model.state_dict()
            self._model.load_state_dict({name: state[name] for name in wanted})
        except Exception as error:
            raise MamTraError(f"{file} does not hold the weights of Resemblyzer's network.") from error
        self._model.to(self._device)
        self.about = f"resemblyzer, {file.name}" if weights else f"resemblyzer {metadata.version('resemblyzer')}"

    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (256,)."""
        return self.many([(samples, sample_rate)])[0]

    @torch.inference_mode()
    def many(self, sounds: Sequence[tuple[np.ndarray, int]]) -> list[np.ndarray]:
        """Unit vectors (256,) of some sounds, samples (T,) and their rate."""
        cut = [self._windows(resample(samples, rate, RATE)) for samples, rate in sounds]
        found = torch.cat([self._model(mel) for mel in torch.cat(cut).split(self.BATCH)])
        means = [part.mean(0) for part in found.split([len(mel) for mel in cut])]
        return [*nn.functional.normalize(torch.stack(means), dim=1).cpu().numpy()]

    def _windows(self, wave: np.ndarray) -> Tensor:
        """Power mel frames (n, FRAMES, MELS) of the windows of a wave (T,)."""
        starts = window_starts(len(wave))
        signal = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32)).to(self._device)
        signal = signal * (PEAK / signal.abs().max().clamp(min=1e-6))
        signal = nn.functional.pad(signal, (0, max(0, (starts[-1] + FRAMES) * HOP - len(wave))))
        window = torch.hann_window(400, device=self._device)
        spectrum = torch.stft(signal, 400, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (slaney_filterbank(RATE, 400, MELS, RATE / 2, self._device) @ power).T
        return torch.stack([mel[start : start + FRAMES] for start in starts])


def window_starts(samples: int) -> list[int]:
    """First frames of the windows of a wave; the last one is dropped where too little of it is sound, unless it is the only one."""
    frames = -(-(samples + 1) // HOP)
    starts = list(range(0, max(1, frames - FRAMES + STEP + 1), STEP))
    covered = (samples - starts[-1] * HOP) / (FRAMES * HOP)
    return starts[:-1] if covered < COVERED and len(starts) > 1 else starts


def _of_package() -> Path:
    found = importlib.util.find_spec("resemblyzer")
    if found is None or not found.origin:
        raise MamTraError("Comparing speakers by Resemblyzer needs its package; pip install --no-deps resemblyzer.")
    return Path(found.origin).with_name("pretrained.pt")
