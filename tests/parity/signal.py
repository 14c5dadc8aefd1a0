"""Cases of what is computed from recordings: spectral features and the speaker encoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from mamtra.audio.features import kaldi_fbank_80, mel_24k, slaney_filterbank, whisper_log_mel_128
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from tests.parity.fixture import Output, normal, seeded


def features(_: Path) -> Iterator[Output]:
    yield Output("filter bank", slaney_filterbank(24000, 1920, 80, 8000.0, torch.device("cpu")), 1e-7)
    for samples in (9600, 12345):
        wave = 0.1 * normal(f"wave {samples}", 1, samples).cumsum(1).sin()
        wave[:, 3000:5000] = 0
        yield Output(f"mel/{samples}", mel_24k(wave), 1e-3)
        yield Output(f"whisper/{samples}", whisper_log_mel_128(wave), 1e-4)
        yield Output(f"fbank/{samples}", kaldi_fbank_80(wave)[0], 2e-3)


@torch.no_grad()
def speaker_encoder(_: Path) -> Iterator[Output]:
    model = seeded(CAMPPlus(CAMPPlusConfig(growth_rate=4, init_channels=32)), "speaker")
    for frames in (98, 230):
        fbank = normal(f"fbank {frames}", 1, frames, 80)
        yield Output(f"embedding/{frames}", model(fbank), 2e-5)
    yield Output("head", model.head(fbank.transpose(1, 2)), 2e-5)
