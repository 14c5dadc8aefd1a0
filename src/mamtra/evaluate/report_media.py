"""Sound and spectrograms inside an HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import torch

from mamtra.audio.features import mel_24k
from mamtra.audio.formats import encode
from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError

RATE = 24000


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def player(path: Path) -> str:
    """An audio element with the sound in it, as Opus."""
    samples, _ = read_audio(path, RATE)
    return f'<audio controls preload="none" src="{_inline("audio/ogg", encode(samples, RATE, "opus"))}"></audio>'


def picture(path: Path) -> str:
    """The 80-bin mel spectrogram as an image, 40 ms a pixel, low frequencies at the bottom.

    Raises:
        MamTraError: matplotlib is missing.
    """
    try:
        from matplotlib import image
    except ImportError as error:
        raise MamTraError("Spectrograms need matplotlib; pip install 'mamtra[eval]', or give --no-media.") from error
    samples, _ = read_audio(path, RATE)
    mel = mel_24k(torch.from_numpy(samples)[None])[0, :, ::2]
    out = io.BytesIO()
    image.imsave(out, mel.numpy(), vmin=-11.5, vmax=2, cmap="magma", origin="lower", format="png")
    return f'<img alt="spectrogram" width="{3 * mel.shape[1]}" src="{_inline("image/png", out.getvalue())}">'
