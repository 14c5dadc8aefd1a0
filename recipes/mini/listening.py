"""Speech as Whisper's encoder hears it, with its pitch: what speech tokens should predict."""

from __future__ import annotations

from pathlib import Path

import torch
from corpus import TOKEN_16, Corpus
from torch import Tensor

from mamtra.audio.features import whisper_log_mel

WINDOW, FRAME = 480_000, 320
"""Samples of Whisper's window, and of one of its states."""
TONES = 4
"""Of what `hear` gives, the last: relative pitch in octaves and voicing, of two frames."""


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


def hear(corpus: Corpus, states: Tensor) -> Tensor:
    """What is heard of every token: two states, without their mean over the utterance, voicing and relative pitch.

    Args:
        corpus: with f0.
        states: (2 * tokens, width) of Whisper's encoder.

    Returns:
        float16 (tokens, 2 * width + 4).
    """
    tokens = sum(row.tokens for row in corpus.rows)
    usual, tones = usual_pitch(corpus), torch.zeros(2 * tokens, 2, dtype=torch.float16, device=states.device)
    for number, row in enumerate(corpus.rows):
        span = slice(2 * row.start, 2 * (row.start + row.tokens))
        states[span] -= states[span].float().mean(0).half()
        hertz = corpus.f0[span].float()
        tones[span, 0] = torch.where(hertz > 0, hertz.clamp(min=1).log2() - usual[number], 0.0).half()
        tones[span, 1] = (hertz > 0).half()
    return torch.cat((states.view(tokens, -1), tones.view(tokens, -1)), 1)
