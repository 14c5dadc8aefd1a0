"""Further targets of the speech tokenizer: the states of Whisper's encoder, and pitch relative to the utterance's own."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from corpus import TOKEN_16, Corpus
from torch import Tensor, nn

from mamtra.audio.features import whisper_log_mel
from mamtra.encoders.speech_tokenizer import MARGIN, ConvNeXtBlock

WINDOW, FRAME = 480_000, 320
"""Samples of Whisper's window, and of one of its states."""


@torch.inference_mode()
def whisper_states(folder: Path, corpus: Corpus, device: str, batch: int = 64) -> Tensor:
    """Encoder states of every frame of the corpus at 50 Hz, each dimension with mean 0 and variance 1.

    Args:
        folder: a Whisper of transformers, such as whisper-base; its input has 80 mel bins.
        corpus: with audio16.
        device: of torch.
        batch: utterances at a time.

    Returns:
        float16 (2 * tokens of the corpus, width); zero beyond the first 30 s of an utterance.
    """
    from transformers import WhisperModel

    encoder = WhisperModel.from_pretrained(folder, dtype=torch.float16 if device != "cpu" else torch.float32).encoder
    encoder.eval().to(device)
    tokens = sum(row.tokens for row in corpus.rows)
    found = torch.zeros(2 * tokens, encoder.config.d_model, dtype=torch.float16, device=device)
    for at in range(0, len(corpus.rows), batch):
        rows = corpus.rows[at : at + batch]
        waves = torch.zeros(len(rows), WINDOW, device=device)
        for wave, row in zip(waves, rows, strict=True):
            sound = corpus.audio16[row.start * TOKEN_16 : (row.start + row.tokens) * TOKEN_16][:WINDOW]
            wave[: len(sound)] = sound.float() / 32768
        states = encoder(whisper_log_mel(waves, 80).to(encoder.dtype)).last_hidden_state
        for state, row in zip(states, rows, strict=True):
            count = min(2 * row.tokens, len(state))
            found[2 * row.start : 2 * row.start + count] = state[:count]
    sample = found[:: max(1, len(found) // 100_000)].float()
    mean, scale = sample.mean(0).half(), sample.std(0).clamp(min=1e-3).half()
    for part in found.split(1 << 20):  # in place, in parts: the states of a day take 4 GB
        part.sub_(mean).div_(scale)
    return found


def usual_pitch(corpus: Corpus) -> Tensor:
    """log2 of the median pitch of every utterance (rows,); 0 where none is voiced."""
    found = torch.zeros(len(corpus.rows), device=corpus.f0.device)
    for number, row in enumerate(corpus.rows):
        track = corpus.f0[2 * row.start : 2 * (row.start + row.tokens)].float()
        voiced = track[track > 0]
        if len(voiced):
            found[number] = voiced.log2().median()
    return found


class Supervision(nn.Module):
    """Heads that read the targets from the tokens, and their losses. Discarded after training.

    Args:
        dims: digits of a token.
        states: of the corpus, see `whisper_states`; None without them.
        f0: of the corpus, Hz at 50 Hz.
        width: inner width.
    """

    def __init__(self, dims: int, states: Tensor | None, f0: Tensor, width: int = 256) -> None:
        super().__init__()
        self.read = nn.Linear(dims, width)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(3)])
        self.pitch = nn.Linear(width, 4)
        self.states = nn.Linear(width, 2 * states.shape[1]) if states is not None else None
        self._targets = {"states": states, "f0": f0}  # not in the state dict

    def forward(self, values: Tensor, starts: Tensor, lengths: Tensor, usual: Tensor) -> dict[str, Tensor]:
        """Losses of values (B, N, dims), with MARGIN tokens of silence in front, by name.

        Args:
            values: tokens.
            starts: (B,) of the utterances in the corpus, in tokens.
            lengths: (B,) of the utterances, in tokens.
            usual: (B,) log2 of their median pitch.
        """
        batch, tokens, _ = values.shape
        hidden = self.blocks(self.read(values).transpose(1, 2)).transpose(1, 2)
        frames = torch.arange(2 * tokens, device=values.device) - 2 * MARGIN
        inside = (frames >= 0) & (frames < 2 * lengths[:, None])
        place = 2 * starts[:, None] + frames.clamp(min=0)
        f0 = self._targets["f0"]
        hertz = f0[place.clamp(max=len(f0) - 1)].float()
        tone, voice = self.pitch(hidden).float().view(batch, 2 * tokens, 2).unbind(-1)
        voiced = inside & (hertz > 0)
        error = (tone - (hertz.clamp(min=1).log2() - usual[:, None])).abs()
        unsure = F.binary_cross_entropy_with_logits(voice, (hertz > 0).float(), reduction="none")
        found = {"pitch": (error * voiced).sum() / voiced.sum().clamp(min=1) + (unsure * inside).sum() / inside.sum()}
        if self.states is not None:
            target = self._targets["states"]
            guess = self.states(hidden).float().view(batch, 2 * tokens, -1)
            miss = (guess - target[place.clamp(max=len(target) - 1)].float()).square().mean(-1)
            found["states"] = (miss * inside).sum() / inside.sum()
        return found
