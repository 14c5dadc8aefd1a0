"""Whisper by transformers: batches of clips, on any device."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from mamtra.audio.features import whisper_log_mel
from mamtra.audio.io import resample
from mamtra.checkpoints.pull import snapshot
from mamtra.errors import MamTraError
from mamtra.runtime.device import pick_device
from mamtra.runtime.files import hash_files
from mamtra.runtime.optional import need

RATE = 16000
WINDOW = 30 * RATE
HUB = "hf:"
"""Before a name on the hub, or before a folder."""
BEAMS = 5
LONGEST = 224
"""Speech is transcribed to so many tokens at most, a window."""
BUDGET = {"cuda": 16 << 30, "cpu": 1 << 30}
"""Bytes for the cross-attention cache on a kind of device, one copy a beam; they decide the size of a batch. On a GPU an eighth
of what is free at most."""
SILENCE, LOW = 0.6, -1.0
"""No words, where the probability of silence is above the first and the mean log probability of the words below the second."""


class TransformersWhisper:
    """A transformers Whisper: English, 5 beams, no timestamps, no sampling.

    Sound of more than 30 s is transcribed in windows, cut where it is quietest.

    Args:
        source: folder with config.json, tokenizer.json and safetensors weights, or "hf:NAME" of such a model on the hub.
        device: see `mamtra.runtime.device.pick_device`.
        precision: float32, float16 or bfloat16; the CPU takes float32.

    Attributes:
        about: see `mamtra.evaluate.judges.asr.Transcriber`.
        device: where it runs.
        batch_size: windows of a batch.

    Raises:
        MamTraError: transformers is missing, or there is no such model.
    """

    def __init__(self, source: str, device: str | torch.device | None = None, precision: str = "float32") -> None:
        self.device = pick_device(device)
        if precision not in ("float32", "float16", "bfloat16") or (
            self.device.type == "cpu" and precision != "float32"
        ):
            raise MamTraError(f"Whisper cannot run in {precision} on {self.device}; use float32.")
        folder = _folder(source)
        self._model, self._tokenizer = _load(folder, source)
        self._model.to(self.device, getattr(torch, precision))
        config, options = self._model.config, self._model.generation_config
        self._prompt, self._no_speech = _prompt(self._tokenizer, options)
        self._options = _search_options(self._tokenizer, self._prompt, config, options)
        cache = 2 * config.decoder_layers * config.max_source_positions * config.d_model * self._model.dtype.itemsize
        budget = BUDGET.get(self.device.type, BUDGET["cpu"])
        if self.device.type == "cuda":
            budget = min(budget, torch.cuda.mem_get_info(self.device)[0] // 8)
        self.batch_size = max(1, budget // (BEAMS * cache))
        name = source.removeprefix(HUB) if source.startswith(HUB) else folder.resolve().name
        self.about = {
            "asr": f"{name}, transformers {metadata.version('transformers')} generate, beam {BEAMS}, {precision}",
            "asr_sha256": hash_files(*sorted(folder.glob("model*.safetensors")))[:16],
        }

    def __call__(self, samples: np.ndarray, sample_rate: int) -> str:
        """Words in float32 samples (T,) of ``sample_rate`` Hz."""
        return self.many([(samples, sample_rate)])[0]

    @torch.inference_mode()
    def many(self, sounds: Sequence[tuple[np.ndarray, int]]) -> list[str]:
        """Words in each of some sounds, samples (T,) and their rate."""
        pieces: list[np.ndarray] = []
        owners: list[int] = []
        for owner, (samples, rate) in enumerate(sounds):
            found = windows(resample(samples, rate, RATE))
            pieces += found
            owners += [owner] * len(found)
        texts: list[list[str]] = [[] for _ in sounds]
        for start in range(0, len(pieces), self.batch_size):
            batch = self._transcribe(pieces[start : start + self.batch_size])
            for owner, text in zip(owners[start : start + self.batch_size], batch, strict=True):
                texts[owner].append(text)
        return [" ".join(filter(None, parts)) for parts in texts]

    def _transcribe(self, pieces: Sequence[np.ndarray]) -> list[str]:
        from transformers import GenerationMixin
        from transformers.modeling_outputs import BaseModelOutput

        encoded = BaseModelOutput(last_hidden_state=self._encode(pieces))
        prompt = torch.tensor([self._prompt], device=self.device).expand(len(pieces), -1)
        first = self._model(encoder_outputs=encoded, decoder_input_ids=prompt[:, :1]).logits[:, 0]
        silence = first.float().softmax(-1)[:, self._no_speech].tolist()
        # not Whisper's own method, which would choose prompt and windows anew
        found = GenerationMixin.generate(
            self._model, encoder_outputs=encoded, decoder_input_ids=prompt, **self._options
        )
        return [
            "" if quiet > SILENCE and mean < LOW else self._tokenizer.decode(tokens, skip_special_tokens=True).strip()
            for tokens, mean, quiet in zip(
                found.sequences[:, len(self._prompt) :].tolist(), found.sequences_scores.tolist(), silence, strict=True
            )
        ]

    def _encode(self, pieces: Sequence[np.ndarray]) -> Tensor:
        """(B, 1500, D) of windows of at most 30 s, all padded with silence."""
        waves = np.zeros((len(pieces), WINDOW), np.float32)
        for wave, piece in zip(waves, pieces, strict=True):
            wave[: len(piece)] = piece
        mel = whisper_log_mel(torch.from_numpy(waves).to(self.device), self._model.config.num_mel_bins)
        return self._model.model.encoder(mel.to(self._model.dtype)).last_hidden_state


def windows(wave: np.ndarray) -> list[np.ndarray]:
    """A wave (T,) of 16 kHz in pieces of at most 30 s, cut in the middle of the quietest 0.2 s of each piece's last 10 s."""
    found, hop = [], RATE // 5
    while len(wave) > WINDOW:
        power = np.square(wave[WINDOW - 10 * RATE : WINDOW].astype(np.float64)).reshape(-1, hop).sum(1)
        cut = WINDOW - 10 * RATE + int(power.argmin()) * hop + hop // 2
        found.append(wave[:cut])
        wave = wave[cut:]
    return [*found, wave]


def is_transformers(folder: Path) -> bool:
    """Whether a folder holds a model of transformers."""
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


def _folder(source: str) -> Path:
    folder = Path(os.path.expanduser(source.removeprefix(HUB)))
    if folder.is_dir() or not source.startswith(HUB):
        return folder
    try:
        return snapshot(source.removeprefix(HUB), ("*.json", "model*.safetensors"))
    except MamTraError:
        raise
    except Exception as error:
        raise _absent(source) from error


def _load(folder: Path, source: str) -> tuple[Any, Tokenizer]:
    need("transformers", f"The Whisper {source}", "'mamtra[hf]'")
    from transformers import WhisperForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        if kind != "whisper":
            raise ValueError(f"a model of the kind {kind}")
        model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        return model, Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:
        raise _absent(source) from error


def _absent(source: str) -> MamTraError:
    return MamTraError(
        f"There is no Whisper of transformers {source!r} here or on the hub; give --whisper a folder with config.json, "
        "tokenizer.json and model.safetensors, or hf:NAME, such as hf:openai/whisper-base."
    )


def _search_options(tokenizer: Tokenizer, prompt: list[int], config: Any, options: Any) -> dict[str, Any]:
    """Of the beam search: timestamps and what the model's own options suppress are never chosen."""
    end = _id(tokenizer, "<|endoftext|>")
    return {
        "num_beams": BEAMS,
        "do_sample": False,
        "max_new_tokens": min(LONGEST, config.max_target_positions - len(prompt) - 1),
        "eos_token_id": end,
        "pad_token_id": end,
        "suppress_tokens": [*(options.suppress_tokens or []), *range(prompt[-1], config.vocab_size)],
        "begin_suppress_tokens": [*(options.begin_suppress_tokens or [])],
        "forced_decoder_ids": None,
        "return_dict_in_generate": True,
        "output_scores": True,
    }


def _prompt(tokenizer: Tokenizer, options: Any) -> tuple[list[int], int]:
    """Tokens that every transcript begins with, and the token whose probability after the first of them is that of silence."""
    plain = _id(tokenizer, "<|notimestamps|>")
    told = ["<|en|>", "<|transcribe|>"] if getattr(options, "is_multilingual", True) else []
    return [*(_id(tokenizer, token) for token in ("<|startoftranscript|>", *told)), plain], plain - 1


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise MamTraError(f"The tokenizer is not Whisper's: it has no {token}.")
    return found
