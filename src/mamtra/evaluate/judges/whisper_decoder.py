"""Whisper's decoder for a beam search: what the encoder made of a clip is projected and kept once, for all of its beams."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class WhisperDecoder:
    """Decoder of a transformers Whisper over a batch of clips; it remembers what was decoded.

    transformers' own generate repeats the keys and values of a clip, 1500 positions in every layer, for each beam, and copies
    them at each step; for 300 clips and 5 beams of the base size that is 55 GB instead of 11.

    Args:
        model: a WhisperForConditionalGeneration in evaluation mode.
        encoded: (B, S, D), by its encoder.
    """

    def __init__(self, model: Any, encoded: Tensor) -> None:
        self._decoder, self._project = model.model.decoder, model.proj_out
        self._heads = model.config.decoder_attention_heads
        self._scale = self._decoder.embed_scale
        self._heard = [
            (self._split(layer.encoder_attn.k_proj(encoded)), self._split(layer.encoder_attn.v_proj(encoded)))
            for layer in self._decoder.layers
        ]
        self._said: list[tuple[Tensor, Tensor]] = []

    def start(self, prompt: list[int]) -> Tensor:
        """Logits (B, n, V) after each of the n tokens with which all clips begin."""
        batch, device = len(self._heard[0][0]), self._project.weight.device
        tokens = torch.tensor(prompt, device=device).expand(batch, -1)
        return self._project(self._run(tokens, torch.arange(len(prompt), device=device), causal=True))

    def follow(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Logits (B, W, V) after tokens (B, W), each of which continues the beam whose place is in parents (B, W).

        The first call takes all beams to continue the prompt.
        """
        batch, beams = tokens.shape
        before = len(self._said[0][0]) // batch  # 1 after the prompt
        first = before * torch.arange(batch, device=tokens.device)[:, None]
        rows = (first + (parents if before > 1 else 0)).expand(-1, beams).flatten()
        self._said = [(keys[rows], values[rows]) for keys, values in self._said]
        place = torch.full((1,), self._said[0][0].shape[2], device=tokens.device)  # made there: no wait for the device
        hidden = self._run(tokens.reshape(-1, 1), place, causal=False)
        return self._project(hidden).view(batch, beams, -1)

    def _run(self, tokens: Tensor, places: Tensor, causal: bool) -> Tensor:
        """Hidden states (R, n, D) of tokens (R, n) at places (n,); R is the number of clips, or of all their beams."""
        decoder, said = self._decoder, []
        x = decoder.embed_tokens(tokens) * self._scale + decoder.embed_positions.weight[places]
        for number, layer in enumerate(decoder.layers):
            normed, own = layer.self_attn_layer_norm(x), layer.self_attn
            keys, values = self._split(own.k_proj(normed)), self._split(own.v_proj(normed))
            if self._said:
                keys = torch.cat([self._said[number][0], keys], 2)
                values = torch.cat([self._said[number][1], values], 2)
            said.append((keys, values))
            query = self._split(own.q_proj(normed))
            attended = F.scaled_dot_product_attention(query, keys, values, is_causal=causal)
            x = x + own.out_proj(self._join(attended))

            normed, cross = layer.encoder_attn_layer_norm(x), layer.encoder_attn
            keys, values = self._heard[number]
            query = self._split(cross.q_proj(normed).reshape(len(keys), -1, x.shape[2]))  # beams beside one another
            attended = F.scaled_dot_product_attention(query, keys, values)
            x = x + cross.out_proj(self._join(attended)).reshape(x.shape)

            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        self._said = said
        return decoder.layer_norm(x)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, heads, T, D / heads)."""
        return x.unflatten(2, (self._heads, -1)).transpose(1, 2)

    @staticmethod
    def _join(x: Tensor) -> Tensor:
        """(B, heads, T, D / heads) -> (B, T, D)."""
        return x.transpose(1, 2).flatten(2)
