"""Zonos-v0.1 of Zyphra, transformer and hybrid, by its own package. It takes a speaker embedding from a prompt, not its words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError
from mamtra.runtime.device import pick_device
from mamtra.runtime.optional import need

if TYPE_CHECKING:
    from mamtra.evaluate.adapters.open import AdapterOptions

PUBLISHED = {"transformer": "Zyphra/Zonos-v0.1-transformer", "hybrid": "Zyphra/Zonos-v0.1-hybrid"}
LANGUAGE = "en-us"


class Zonos:
    """One of the two models.

    Args:
        name: "transformer", "hybrid", a folder with config.json and model.safetensors, or a name on the hub.
        options: the device.

    Raises:
        MamTraError: the package is not installed, or the model cannot be loaded.
    """

    def __init__(self, name: str, options: AdapterOptions) -> None:
        if not name:
            raise MamTraError(f"Zonos has several models; give zonos:{' or zonos:'.join(PUBLISHED)}.")
        install = "from a checkout of github.com/Zyphra/Zonos"
        package = need("zonos.model", "Evaluating Zonos", install)
        self._condition = need("zonos.conditioning", "Evaluating Zonos", install).make_cond_dict
        device = str(pick_device(options.device))
        folder = Path(name)
        try:
            if folder.is_dir():
                files = (str(folder / file) for file in ("config.json", "model.safetensors"))
                self._model = package.Zonos.from_local(*files, device=device)
            else:
                self._model = package.Zonos.from_pretrained(PUBLISHED.get(name, name), device=device)
        except Exception as error:  # its package checks nothing: whatever its libraries raise
            raise MamTraError(f"Zonos {name} cannot be loaded: {type(error).__name__}: {error}.") from error
        self._device = device
        self.sample_rate = int(self._model.autoencoder.sampling_rate)
        self.about: dict[str, Any] = {
            "system": f"zonos {folder.name}",
            "language": LANGUAGE,
            "prompts": "without their words",
        }

    def speak(self, text: str, prompt_wav: Path | None, prompt_text: str | None) -> np.ndarray:
        """See `Adapter.speak`."""
        speaker = None
        if prompt_wav is not None:
            wave, rate = read_audio(prompt_wav)
            speaker = self._model.make_speaker_embedding(torch.from_numpy(wave)[None], rate)
        asked = self._condition(text=text, speaker=speaker, language=LANGUAGE, device=self._device)
        codes = self._model.generate(self._model.prepare_conditioning(asked), progress_bar=False)
        return self._model.autoencoder.decode(codes).float().cpu().numpy().reshape(-1)
