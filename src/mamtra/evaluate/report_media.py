"""Sound and spectrograms inside an HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.audio.features import mel_24k
from mamtra.audio.formats import encode
from mamtra.audio.io import read_audio
from mamtra.runtime.optional import need

RATE = 24000


def inline_media(path: Path) -> dict[str, Any]:
    """A sound file as data URLs: "sound", as Opus, and "picture", its spectrogram, with the "width" to show it at.

    The spectrogram has 80 mel bins, low frequencies at the bottom, and 40 ms a pixel.

    Raises:
        MamTraError: the file is no sound, or matplotlib is missing.
    """
    colours = need("matplotlib", "A spectrogram").colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    samples, _ = read_audio(path, RATE)
    mel = mel_24k(torch.from_numpy(samples)[None])[0, :, ::2]
    levels = ((mel.numpy()[::-1] + 11.5) / 13.5 * 255).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    need("PIL.Image", "A spectrogram").fromarray(colours[levels]).save(out, format="webp", quality=60)
    return {
        "sound": data_url("audio/ogg", encode(samples, RATE, "opus")),
        "picture": data_url("image/webp", out.getvalue()),
        "width": 3 * mel.shape[1],
    }


def data_url(kind: str, data: bytes) -> str:
    """Bytes of a media type as a URL that needs no server."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
