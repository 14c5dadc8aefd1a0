"""Speech as Whisper's encoder hears it, with its pitch: what speech tokens should predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from corpus import TOKEN_16, Corpus, crop
from torch import Tensor

from mamtra.audio.features import whisper_log_mel
from mamtra.encoders.speech_tokenizer import SpeechTokenizer

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


def first_waves(corpus: Corpus, rows: int = 64, tokens: int = 250) -> Tensor:
    """The beginnings of rows from all over the corpus, (rows, samples) float at 16 kHz."""
    picked = corpus.rows[:: max(1, len(corpus.rows) // rows)][:rows]
    starts = torch.tensor([row.start for row in picked], device=corpus.audio16.device)
    return crop(corpus.audio16, starts * TOKEN_16, tokens * TOKEN_16).float() / 32768


@torch.no_grad()
def begin_as_whisper(tokenizer: SpeechTokenizer, folder: Path, waves: Tensor) -> None:
    """Give the tokenizer the first layers of Whisper's encoder.

    Of each feed-forward network those units stay that add most to its output; of the others their mean does, in the bias.

    Args:
        tokenizer: of the width and heads of that Whisper.
        folder: a Whisper of transformers, such as whisper-base.
        waves: (B, T) speech at 16 kHz, to see what the units do.
    """
    from transformers import WhisperModel

    given = {
        name.removeprefix("encoder."): value.to(waves.device)
        for name, value in WhisperModel.from_pretrained(folder, dtype=torch.float32).state_dict().items()
        if name.startswith("encoder.")
    }
    whole = SpeechTokenizer(tokenizer.config.model_copy(update={"inner": len(given["layers.0.fc1.bias"])}))
    whole.to(waves.device).load_state_dict(given, strict=False)
    usual, reach = {}, {}

    def look(name: str) -> Callable[..., None]:
        def hook(_, inputs: tuple[Tensor, ...]) -> None:
            units = inputs[0].flatten(0, 1)
            usual[name], reach[name] = units.mean(0), units.std(0)

        return hook

    for number, layer in enumerate(whole.layers):
        layer.fc2.register_forward_pre_hook(look(f"layers.{number}"))
    whole.latents(whole.log_mel(waves))
    for name in usual:
        first, bias, second = (given[f"{name}.{of}"] for of in ("fc1.weight", "fc1.bias", "fc2.weight"))
        kept = (reach[name] * second.norm(dim=0)).topk(tokenizer.config.inner).indices.sort().values
        lost = torch.ones(len(bias), dtype=torch.bool, device=bias.device).index_fill(0, kept, False)
        given[f"{name}.fc2.bias"] = given[f"{name}.fc2.bias"] + second[:, lost] @ usual[name][lost]
        given[f"{name}.fc1.weight"], given[f"{name}.fc1.bias"] = first[kept], bias[kept]
        given[f"{name}.fc2.weight"] = second[:, kept]
    own = tokenizer.state_dict()
    tokenizer.load_state_dict({**own, **{name: value for name, value in given.items() if name in own}})


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
