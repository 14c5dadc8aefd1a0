"""What a flow is conditioned on in training: rows of a prompt in a voice, and of speech tokens of a corpus that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamtra.data.token_shards import TokenShards
from mamtra.distill.flow_settings import FlowDistillConfig
from mamtra.errors import MamTraError
from mamtra.voices.voice import Voice


def open_voices(config: FlowDistillConfig, model_voices: Path, space: str, embedding: int) -> list[Voice]:
    """The voices to train on.

    Args:
        config: settings.
        model_voices: folder of the model's own.
        space: see `mamtra.checkpoints.native.voice_space`.
        embedding: size of the speaker embedding.

    Raises:
        MamTraError: there is none, or one was made for another model.
    """
    folder = model_voices if config.voices is None else Path(config.voices)
    voices = [Voice.load(path, "numpy") for path in sorted(folder.glob("*.safetensors"))]
    if not voices:
        raise MamTraError(f"{folder} holds no voices; add some with `mamtra voices add`, or name another folder.")
    for voice in voices:
        theirs = voice.info.voice_space
        if (theirs and space and theirs != space) or voice.embedding.shape != (embedding,):
            raise MamTraError(f"The voice {voice.name} of {folder} was made for another model; make it again.")
    return voices


def open_tokens(config: FlowDistillConfig, space: str, vocabulary: int) -> TokenShards:
    """The corpus.

    Raises:
        MamTraError: it was made with another speech tokenizer, or see `TokenShards`.
    """
    corpus = TokenShards(config.data)
    theirs = corpus.manifest.speech_tokenizer
    if (theirs and space and theirs != space) or corpus.manifest.num_speech_tokens > vocabulary:
        raise MamTraError(
            f"The corpus {config.data} was made with another speech tokenizer than the model {config.model} has; "
            "prepare it again with this model."
        )
    if not corpus.speech_len.any():
        raise MamTraError(f"The corpus {config.data} holds no speech tokens; make it again with `mamtra prepare`.")
    return corpus


class VoiceTable:
    """The prompts of all voices on a device.

    Args:
        voices: at least one.
        device: to keep them on.

    Attributes:
        mels: (V, F, mel) float32, zero after each prompt.
        embeddings: (V, E) float32.
    """

    def __init__(self, voices: Sequence[Voice], device: torch.device) -> None:
        longest = max(1, *(len(voice.prompt_mel) for voice in voices))
        mels = np.zeros((len(voices), longest, voices[0].prompt_mel.shape[1]), np.float32)
        for row, voice in zip(mels, voices, strict=True):
            row[: len(voice.prompt_mel)] = voice.prompt_mel
        self.mels = torch.from_numpy(mels).to(device)
        self.embeddings = torch.from_numpy(np.stack([voice.embedding for voice in voices])).to(device)

    def conditions(self, voice: Tensor, prompt: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Prompt mels and speaker embeddings of a batch.

        Args:
            voice: (B,) int64.
            prompt: (B,) int64, mel frames of each prompt that are given.
            frames: of a row.

        Returns:
            (B, mel, frames), zero after each prompt, and (B, E).
        """
        mel = self.mels[voice, :frames]
        mel = torch.nn.functional.pad(mel, (0, 0, 0, frames - mel.shape[1]))
        given = torch.arange(frames, device=mel.device) < prompt[:, None]
        return (mel * given[:, :, None]).transpose(1, 2), self.embeddings[voice]


class FlowBatches:
    """Batches of fixed shapes, each a function of its number and the seed.

    Args:
        config: settings.
        corpus: speech tokens.
        voices: at least one.
        ratio: mel frames of a token.
    """

    def __init__(self, config: FlowDistillConfig, corpus: TokenShards, voices: Sequence[Voice], ratio: int) -> None:
        self._batch, self._seed, self._ratio = config.batch, config.run.seed, ratio
        self._corpus, self._voices = corpus, voices
        self._rows = np.flatnonzero(corpus.speech_len)

    def length(self, number: int) -> int:
        """Tokens of a row of a batch; two batches in turn have the same, so that each length is seen with chunks and without."""
        return self._batch.lengths[number // 2 % len(self._batch.lengths)]

    def blank(self, length: int) -> dict[str, Tensor]:
        """A batch of the right shapes."""
        rows = self._batch.tokens // length
        whole = {name: torch.zeros(rows, dtype=torch.int64) for name in ("voice", "prompt")}
        return {"token": torch.zeros(rows, length, dtype=torch.int64), "fixed": torch.zeros(rows), **whole}

    def __call__(self, number: int) -> dict[str, Tensor]:
        """A batch.

        Returns:
            token (B, N) int64 speech tokens of prompt and speech, voice (B,) int64, prompt (B,) int64 mel frames of the prompt,
            fixed (B,) float32, 1 for rows that start from the noise of every synthesis.
        """
        rng, length = np.random.default_rng([self._seed, number]), self.length(number)
        made = self.blank(length)
        for row in range(len(made["token"])):
            at = int(rng.integers(len(self._voices)))
            prompt = self._voices[at].prompt_speech[: length // 2]
            if rng.random() < self._batch.no_prompt:
                prompt = prompt[:0]
            tokens = np.concatenate([prompt, self._speech(rng, length - len(prompt))])
            made["token"][row] = torch.from_numpy(tokens)
            made["voice"][row], made["prompt"][row] = at, self._ratio * len(prompt)
            made["fixed"][row] = float(rng.random() < self._batch.fixed_noise)
        return made

    def _speech(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Tokens (count,) of utterances in a row; either the first begins with its beginning, or the last ends with its end."""
        found: list[np.ndarray] = []
        missing = count
        while missing > 0:
            found.append(self._corpus[int(rng.choice(self._rows))].speech)
            missing -= len(found[-1])
        joined = np.concatenate(found)
        return joined[:count] if rng.random() < 0.5 else joined[-count:]
