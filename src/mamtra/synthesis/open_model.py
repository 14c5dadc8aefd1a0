"""Open a model directory of any supported format."""

from __future__ import annotations

from pathlib import Path

import torch

from mamtra.checkpoints.cosyvoice.files import is_cosyvoice
from mamtra.checkpoints.model_files import is_native
from mamtra.errors import MamTraError
from mamtra.runtime.device import pick_device
from mamtra.synthesis.model import Model

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_model(directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """A model directory of this package, or one of CosyVoice 2 as it was published.

    Raises:
        MamTraError: it is neither, or files are missing or damaged.
    """
    if not is_native(directory) and is_cosyvoice(directory):
        from mamtra.synthesis.cosyvoice_model import CosyVoiceModel

        return CosyVoiceModel(directory, device, dtype)
    return Model(directory, device, dtype)


def open_on(directory: Path, device: torch.device | str | None, dtype: torch.dtype | str | None) -> Model:
    """`open_model` on a device by name, the best one at hand by default, with weights of float32 by default.

    Raises:
        MamTraError: as in `open_model`, or there is no such device or type.
    """
    if isinstance(dtype, str):
        if dtype not in TYPES:
            raise MamTraError(f"The weights of a language model cannot be {dtype!r}; use {', '.join(TYPES)}.")
        dtype = TYPES[dtype]
    return open_model(directory, pick_device(device), dtype or torch.float32)
