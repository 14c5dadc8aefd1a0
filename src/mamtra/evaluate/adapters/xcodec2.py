"""X-codec2 (arXiv 2502.04128), 50 tokens a second at 16 kHz, by transformers or by its own package."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.runtime.optional import need

RATE = 16000
PUBLISHED = "HKUSTAudio/xcodec2-hf"
OWN_PACKAGE = "xcodec2:"
"""Before a name or folder that the codec's own package reads."""


class Codec(Protocol):
    """A codec of one token stream."""

    def encode(self, wave: Tensor) -> list[int]:
        """Samples (T,) at 16 kHz to tokens."""

    def decode(self, tokens: list[int]) -> Tensor:
        """Tokens to samples (T,) at 16 kHz."""


def open_codec(name: str | None, device: torch.device) -> Codec:
    """X-codec2 by a folder or a name on the hub; with "xcodec2:" before it by its own package.

    Raises:
        MamTraError: the library is missing, or the codec cannot be loaded.
    """
    name = name or PUBLISHED
    try:
        return _OwnPackage(name, device) if name.startswith(OWN_PACKAGE) else _Transformers(name, device)
    except MamTraError:
        raise
    except Exception as error:  # whatever the library raises at files that are not what it wants
        raise MamTraError(f"X-codec2 {name} cannot be loaded: {type(error).__name__}: {error}.") from error


class _Transformers:
    def __init__(self, name: str, device: torch.device) -> None:
        library = need("transformers", "X-codec2", "'mamtra[hf]', or xcodec2 and give xcodec2:NAME")
        if not hasattr(library, "Xcodec2Model"):
            raise MamTraError(
                "This transformers has no X-codec2; install a newer one, or xcodec2 and give xcodec2:NAME."
            )
        self._name, self._library = name, library
        self._model = library.Xcodec2Model.from_pretrained(name).eval().to(device)

    @cached_property
    def _extract(self) -> Any:
        """Features of a prompt; without prompts they need no further library."""
        need("torchaudio", "Encoding a prompt by X-codec2", "torchaudio")
        return self._library.AutoFeatureExtractor.from_pretrained(self._name)

    @torch.inference_mode()
    def encode(self, wave: Tensor) -> list[int]:
        inputs = self._extract(audio=wave.numpy(), sampling_rate=RATE, return_tensors="pt").to(self._model.device)
        return self._model.encode(**inputs).audio_codes.flatten().tolist()

    @torch.inference_mode()
    def decode(self, tokens: list[int]) -> Tensor:
        codes = torch.tensor(tokens, device=self._model.device)[None, None]
        return self._model.decode(codes).audio_values.float().cpu().flatten()


class _OwnPackage:
    def __init__(self, name: str, device: torch.device) -> None:
        package = need("xcodec2.modeling_xcodec2", "X-codec2 by its own package", "xcodec2")
        self._model = package.XCodec2Model.from_pretrained(name.removeprefix(OWN_PACKAGE)).eval().to(device)
        self._device = device

    @torch.inference_mode()
    def encode(self, wave: Tensor) -> list[int]:
        return self._model.encode_code(input_waveform=wave[None].to(self._device)).flatten().tolist()

    @torch.inference_mode()
    def decode(self, tokens: list[int]) -> Tensor:
        codes = torch.tensor(tokens, device=self._device)[None, None]
        return self._model.decode_code(codes).float().cpu().flatten()
