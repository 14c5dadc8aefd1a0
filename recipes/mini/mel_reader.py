"""The speech tokenizer for mel spectra: what a flow can be told of the tokens in the mel that it makes.

The tokenizer hears Whisper's log-mel of 100 frames a second; a mel of 50 says nearly the same. A small network makes the one of the
other, and both are trained together to find the tokens that the tokenizer finds in the sound (train_mel_reader.py).
"""

from __future__ import annotations

from pathlib import Path

from digits import digit_distance
from mel_speaker import BankOfMel, noisy
from safetensors.torch import load_file
from torch import Tensor, nn

from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig

CENTRE, SCALE = -5.0, 4.0
"""Of the log-mel, for the small network."""


class MelReader(nn.Module):
    """Mel to a tokenizer's latents."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.bank, self.tokenizer = BankOfMel(), SpeechTokenizer(config)

    def bands(self, mel: Tensor) -> Tensor:
        """Map log-mel (B, 2N, 80) of `mel_24k` to Whisper's (B, 80, 4N)."""
        return self.bank((mel - CENTRE) / SCALE).transpose(1, 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Map log-mel (B, 2N, 80) of `mel_24k` to latents (B, N, dims), as `SpeechTokenizer.latents`."""
        return self.tokenizer.latents(self.bands(mel))


def load_mel_reader(path: Path, config: SpeechTokenizerConfig, device: str) -> MelReader:
    """What train_mel_reader.py wrote, without gradients."""
    model = MelReader(config).eval()
    model.load_state_dict(load_file(path))
    return model.requires_grad_(False).to(device)


def reading_distance(
    reader: MelReader, mel: Tensor, wanted: Tensor, inside: Tensor, temperature: float, noise: float
) -> Tensor:
    """How far the tokens in a mel are from the wanted ones; see `digit_distance`.

    Args:
        reader: reads the tokens.
        mel: (B, 2N, 80).
        wanted: (B, N, dims) digits.
        inside: (B, N) bool, which tokens count.
        temperature: of a latent's distance from a digit.
        noise: the mel is read with noise of this standard deviation.
    """
    return digit_distance(reader(noisy(mel, noise)), wanted, inside, reader.tokenizer.config.levels, temperature)
