"""A small network that reads unknown words: letters in, phonemes out, trained with CTC.

Each letter becomes two positions (English needs about two sounds for a letter at most). They pass through a
bidirectional Transformer with short convolutions (after the Conformer, Gulati et al. 2020, reduced). The outputs are
phonemes, with the stress mark joined to its vowel, and the blank of CTC (Graves et al. 2006), read greedily.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from mamtra.errors import MamTraError
from mamtra.runtime.json_files import loads
from mamtra.text.english.spelt_words import read_letters

SCALE = ".scale"


class LetterToSound:
    """Reads a lower-case word of unknown pronunciation.

    Args:
        weights: float32 arrays by the parameter names of `LetterToSoundNetwork`.
        sounds: phonemes of the classes from 1 on.
        shape: ``width``, ``layers``, ``heads`` and ``kernel`` of the network.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], sounds: list[str], shape: Mapping[str, int]) -> None:
        self._weights, self._sounds = weights, sounds
        self._layers, self._heads = shape["layers"], shape["heads"]
        self._read = lru_cache(maxsize=4096)(self._read_uncached)

    @classmethod
    def load(cls, path: Path | str) -> LetterToSound:
        """Read the weights and their metadata.

        Raises:
            MamTraError: the file is missing or is not such a model.
        """
        path = Path(path)
        if not path.is_file():
            raise MamTraError(f"{path} is missing: the model directory is incomplete, fetch the model again.")
        try:
            with safe_open(path, framework="np") as file:
                about = loads(file.metadata()["letter_to_sound"])
                stored = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
            weights = {
                name: value * stored[name + SCALE][:, None] if name + SCALE in stored else value
                for name, value in stored.items()
                if not name.endswith(SCALE)
            }
            sounds, shape = about["sounds"], about["shape"]
            reader = cls(weights, sounds, shape)
            if reader.scores([1]).shape != (2, len(sounds) + 1):
                raise ValueError("it gives scores of another size")
        except Exception as error:  # safetensors and json raise unrelated types for damaged files
            raise MamTraError(f"{path} is not a letter-to-sound model ({error}): fetch the model again.") from error
        return reader

    def __call__(self, word: str) -> str:
        """Phonemes of the word, with one primary stress; "" if it has no letter from a to z."""
        return self._read(word.lower())

    def _read_uncached(self, word: str) -> str:
        return read_letters(word, lambda letters: self.scores(letters).argmax(-1).tolist(), self._sounds)

    def scores(self, letters: list[int]) -> np.ndarray:
        """Scores (2 L, sounds + 1) float32 of letter ids (L,), of which the largest of each row counts; class 0 is the blank."""
        x = self._weights["embed.weight"][letters].reshape(2 * len(letters), -1)
        for layer in range(self._layers):
            name = f"blocks.{layer}"
            x = x + _silu(self._conv(self._norm(x, f"{name}.conv_norm"), f"{name}.conv"))
            x = x + self._attend(self._norm(x, f"{name}.attention_norm"), name)
            y = _silu(self._linear(self._norm(x, f"{name}.feed_norm"), f"{name}.feed_in"))
            x = x + self._linear(y, f"{name}.feed_out")
        return self._linear(self._norm(x, "norm"), "head")

    def _attend(self, x: np.ndarray, name: str) -> np.ndarray:
        length, width = x.shape
        q, k, v = self._linear(x, f"{name}.qkv").reshape(length, 3, self._heads, -1).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) * np.float32(q.shape[-1] ** -0.5)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = powers / powers.sum(-1, keepdims=True) @ v
        return self._linear(mixed.transpose(1, 0, 2).reshape(length, width), f"{name}.out")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(1e-5))
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    def _conv(self, x: np.ndarray, name: str) -> np.ndarray:
        taps = self._weights[f"{name}.weight"][:, 0]
        padded = np.pad(x, ((taps.shape[1] // 2, taps.shape[1] // 2), (0, 0)))
        windows = (padded[tap : tap + len(x)] * taps[:, tap] for tap in range(taps.shape[1]))
        return sum(windows) + self._weights[f"{name}.bias"]


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))
