"""How the settings of a release size its vocoder."""

from __future__ import annotations

from typing import TypeVar

from mamtra.acoustic.hift import HiFTConfig
from mamtra.checkpoints.cosyvoice.yaml import Settings

SAMPLE_RATE = 24000
C = TypeVar("C", bound=HiFTConfig)
_RENAMED = {
    "istft_n_fft": "istft_params.n_fft",
    "istft_hop": "istft_params.hop_len",
    "f0_channels": "f0_predictor.cond_channels",
}


def read_vocoder_sizes(settings: Settings, kind: type[C]) -> C:
    """Sizes of a vocoder of that kind.

    Raises:
        MamTraError: a value is missing or wrong.
    """
    settings.require("hift.sampling_rate", SAMPLE_RATE)
    names = [name for name in kind.model_fields if name != "architecture"]
    return settings.parse(kind, **{name: settings.get("hift." + _RENAMED.get(name, name)) for name in names})
