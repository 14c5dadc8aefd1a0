"""Judges of other publications, each optional: WavLM and Resemblyzer compare speakers, UTMOS rates naturalness.

A name may carry a place: `wavlm:DIR`, `resemblyzer:FILE`, `utmos:DIR`. Without one, what is installed or cached is taken, then
the hub is asked. Figures of different judges are different figures; the fingerprint of a score file names them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.audio.io import resample
from mamtra.errors import MamTraError
from mamtra.evaluate.judges.ge2e import Resemblyzer
from mamtra.evaluate.judges.models import RATE, DistilMOS, ModelSpeakerEncoder, SpeakerEncoder
from mamtra.runtime.device import pick_device
from mamtra.runtime.optional import need

WAVLM = "microsoft/wavlm-base-plus-sv"
SPEECH_MOS = "tarepan/SpeechMOS:v1.2.0"


def open_speaker_encoder(name: str | None, device: str | torch.device = "cpu") -> SpeakerEncoder:
    """A speaker encoder: "wavlm", "resemblyzer" (each perhaps with :PLACE), or a model, whose own is taken.

    Raises:
        MamTraError: it is not available.
    """
    kind, _, place = (name or "").partition(":")
    if kind == "wavlm":
        return WavLM(place or WAVLM, device)
    if kind == "resemblyzer":
        return Resemblyzer(place or None, device)
    return ModelSpeakerEncoder(name, device)


def open_rater(name: str, device: str | torch.device = "cpu") -> Callable[[np.ndarray, int], float]:
    """A rater of naturalness: "distilmos", or "utmos", perhaps with :DIR.

    Raises:
        MamTraError: no such rater, or it is not available.
    """
    kind, _, place = name.partition(":")
    if kind == "utmos":
        return UTMOS(place or None, device)
    if name == "distilmos":
        return DistilMOS(device)
    raise MamTraError(f"There is no rater {name!r}; give distilmos, utmos or utmos:DIR.")


class WavLM:
    """WavLM with an x-vector head (arXiv 2110.13900), from a folder or the hub.

    Seed-TTS-eval's similarity uses a larger WavLM with another head; its figures are not these.

    Raises:
        MamTraError: transformers is missing, or there is no such model.
    """

    def __init__(self, source: str = WAVLM, device: str | torch.device = "cpu") -> None:
        self._device = pick_device(device)
        transformers = need("transformers", "Comparing speakers by WavLM", "'mamtra[hf]'")
        try:
            self._features = transformers.AutoFeatureExtractor.from_pretrained(source)
            self._model = transformers.WavLMForXVector.from_pretrained(source).eval().to(self._device)
        except Exception as error:
            raise MamTraError(
                f"There is no WavLM speaker model {source!r} here or on the hub; give its folder with --encoder wavlm:DIR."
            ) from error
        self.about = f"WavLM x-vectors, {Path(source).name}, transformers {metadata.version('transformers')}"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector of samples (T,); (512,) for the published model."""
        wave = resample(samples, sample_rate, RATE)
        inputs = self._features(wave, sampling_rate=RATE, return_tensors="pt")
        return _unit(self._model(inputs.input_values.to(self._device)).embeddings[0].cpu().numpy())


class UTMOS:
    """UTMOS22 strong (arXiv 2204.02152), the `pseudo_mos` of VERSA and the paper, through torch.hub.

    Args:
        folder: a copy of the repository tarepan/SpeechMOS; torch.hub's own copy or download where None. Its code is run.

    Raises:
        MamTraError: it is not here and cannot be fetched.
    """

    def __init__(self, folder: str | None = None, device: str | torch.device = "cpu") -> None:
        self._device = pick_device(device)
        kept = Path(torch.hub.get_dir()) / SPEECH_MOS.replace("/", "_").replace(":", "_")
        source = folder or (str(kept) if kept.is_dir() else None)
        try:
            if source:
                self._model: Any = torch.hub.load(source, "utmos22_strong", source="local")
            else:
                self._model = torch.hub.load(SPEECH_MOS, "utmos22_strong", trust_repo=True, verbose=False)
        except Exception as error:
            raise MamTraError(
                f"UTMOS is neither in {source or kept} nor to be fetched; give a copy of SpeechMOS with --rater utmos:DIR."
            ) from error
        self._model = self._model.to(self._device)
        self.about = f"UTMOS22 strong, {Path(source).name if source else SPEECH_MOS}"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> float:
        """Rating of samples (T,), 1 to 5."""
        wave = torch.from_numpy(np.ascontiguousarray(resample(samples, sample_rate, RATE), dtype=np.float32))
        return float(self._model(wave[None].to(self._device), RATE).reshape(()))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
