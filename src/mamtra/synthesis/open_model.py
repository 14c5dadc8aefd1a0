"""Open a model directory of any supported format."""

from __future__ import annotations

from pathlib import Path

import torch

from mamtra.checkpoints.cosyvoice.files import is_cosyvoice
from mamtra.checkpoints.model_files import is_native
from mamtra.synthesis.model import Model


def open_model(directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """A model directory of this package, or one of CosyVoice 2 as it was published.

    Raises:
        MamTraError: it is neither, or files are missing or damaged.
    """
    if not is_native(directory) and is_cosyvoice(directory):
        from mamtra.synthesis.cosyvoice_model import CosyVoiceModel

        return CosyVoiceModel(directory, device, dtype)
    return Model(directory, device, dtype)
