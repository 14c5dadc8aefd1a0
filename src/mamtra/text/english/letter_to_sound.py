"""A small network that reads unknown words: letters in, phonemes out, trained with CTC.

Each letter becomes two positions (English needs about two sounds for a letter at most). They pass through a
bidirectional Transformer with short convolutions (after the Conformer, Gulati et al. 2020, reduced). The outputs are
phonemes, with the stress mark joined to its vowel, and the blank of CTC (Graves et al. 2006), read greedily.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mamtra.errors import MamTraError
from mamtra.text.english.phonemes import PRIMARY, SECONDARY, emphasised

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BLANK = 0
_LONGEST = 48
_SCALE = ".scale"


def split_sounds(phonemes: str) -> list[str]:
    """``"həlˈO"`` -> ``["h", "ə", "l", "ˈO"]``."""
    sounds: list[str] = []
    mark = ""
    for symbol in phonemes:
        if symbol in (PRIMARY, SECONDARY):
            mark = symbol
        else:
            sounds.append(mark + symbol)
            mark = ""
    return sounds


class _Block(nn.Module):
    """Convolution over neighbours, attention over the word, feed-forward: each added to the stream."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.heads = heads
        self.conv_norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 2 * width)
        self.feed_out = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor, dropout: float) -> Tensor:
        batch, length, width = x.shape
        keep = mask[:, :, None].to(x.dtype)
        local = self.conv((self.conv_norm(x) * keep).transpose(1, 2)).transpose(1, 2)
        x = x + F.dropout(F.silu(local), dropout, self.training)
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + F.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)), dropout, self.training)
        return x + F.dropout(self.feed_out(F.silu(self.feed_in(self.feed_norm(x)))), dropout, self.training)


class LetterToSoundNetwork(nn.Module):
    """Letters (B, L) int64, 0 for padding, -> log-probabilities (B, 2 L, sounds + 1) float32; class 0 is the blank."""

    def __init__(self, sounds: int, width: int = 128, layers: int = 4, heads: int = 4, kernel: int = 5) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS) + 1, 2 * width, padding_idx=0)
        self.blocks = nn.ModuleList(_Block(width, heads, kernel) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, sounds + 1)

    def forward(self, letters: Tensor, dropout: float = 0.0) -> Tensor:
        batch, length = letters.shape
        x = self.embed(letters).view(batch, 2 * length, -1)
        mask = (letters > 0).repeat_interleave(2, dim=1)
        for block in self.blocks:
            x = block(x, mask, dropout)
        return F.log_softmax(self.head(self.norm(x)).float(), dim=-1)


def letter_ids(word: str) -> list[int]:
    """Ids of the letters of a word, 1 for a; other characters are left out."""
    return [LETTERS.index(c) + 1 for c in word.lower() if c in LETTERS]


def best_path(classes: list[int], sounds: list[str]) -> str:
    """Collapse a CTC path: repeats fold, blanks go; a word gets exactly one primary stress.

    Args:
        classes: best class of each position.
        sounds: the sound of class 1, 2, ...
    """
    said = [sounds[c - 1] for place, c in enumerate(classes) if c != BLANK and (not place or classes[place - 1] != c)]
    stressed = False
    for place, sound in enumerate(said):
        if sound.startswith(PRIMARY):
            if stressed:
                said[place] = SECONDARY + sound[1:]
            stressed = True
    return emphasised("".join(said))


class LetterToSound:
    """Reads a lower-case word of unknown pronunciation.

    Args:
        network: trained network, on the CPU, in evaluation mode.
        sounds: phonemes of the classes from 1 on.
    """

    def __init__(self, network: LetterToSoundNetwork, sounds: list[str]) -> None:
        self._network = network
        self._sounds = sounds
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
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["letter_to_sound"])
                stored = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
            weights = {
                name: value * stored[name + _SCALE][:, None] if name + _SCALE in stored else value
                for name, value in stored.items()
                if not name.endswith(_SCALE)
            }
            network = LetterToSoundNetwork(len(about["sounds"]), **about["shape"])
            network.load_state_dict(weights)
        except Exception as error:  # safetensors and json raise unrelated types for damaged files
            raise MamTraError(f"{path} is not a letter-to-sound model ({error}): fetch the model again.") from error
        return cls(network.eval(), about["sounds"])

    def __call__(self, word: str) -> str:
        """Phonemes of the word, with one primary stress; "" if it has no letter from a to z."""
        return self._read(word.lower())

    @torch.inference_mode()
    def _read_uncached(self, word: str) -> str:
        ids = letter_ids(word)
        # Longer runs of letters are not words; in pieces they stay within what the network has seen.
        pieces = [ids[start : start + _LONGEST] for start in range(0, len(ids), _LONGEST)]
        paths = [self._network(torch.tensor([piece]))[0].argmax(-1).tolist() for piece in pieces]
        return "".join(best_path(path, self._sounds) for path in paths)


def save_letter_to_sound(
    path: Path | str, network: LetterToSoundNetwork, sounds: list[str], shape: dict[str, int]
) -> None:
    """Write what `LetterToSound.load` needs: matrices as int8 with one scale a row, the rest as float16."""
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu().float()
        if tensor.dim() == 2:
            scale = (tensor.abs().amax(1) / 127).clamp(min=1e-8).half().clamp(min=6e-8)
            weights[name + _SCALE], tensor = scale, (tensor / scale.float()[:, None]).round().clamp(-127, 127)
            weights[name] = tensor.to(torch.int8)
        else:
            weights[name] = tensor.half().contiguous()
    save_file(weights, str(path), metadata={"letter_to_sound": json.dumps({"sounds": sounds, "shape": shape})})
