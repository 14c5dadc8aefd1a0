"""The letter-to-sound network as it is trained; `mamtra.text.english.letter_to_sound` reads words with what is saved of it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mamtra.text.english.letter_to_sound import SCALE
from mamtra.text.english.spelt_words import LETTERS


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


def save_letter_to_sound(
    path: Path | str, network: LetterToSoundNetwork, sounds: list[str], shape: dict[str, int]
) -> None:
    """Write what `LetterToSound.load` needs: matrices as int8 with one scale a row, the rest as float16."""
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu().float()
        if tensor.dim() == 2:
            scale = (tensor.abs().amax(1) / 127).clamp(min=1e-8).half().clamp(min=6e-8)
            weights[name + SCALE], tensor = scale, (tensor / scale.float()[:, None]).round().clamp(-127, 127)
            weights[name] = tensor.to(torch.int8)
        else:
            weights[name] = tensor.half().contiguous()
    save_file(weights, str(path), metadata={"letter_to_sound": json.dumps({"sounds": sounds, "shape": shape})})
