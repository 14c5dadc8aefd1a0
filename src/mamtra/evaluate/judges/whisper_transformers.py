"""Whisper by transformers: many clips at once, on any device."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from mamtra.audio.features import whisper_log_mel
from mamtra.audio.io import resample
from mamtra.errors import MamTraError
from mamtra.evaluate.judges.beam_search import beam_search
from mamtra.evaluate.judges.whisper_decoder import WhisperDecoder
from mamtra.runtime.device import pick_device
from mamtra.runtime.files import hash_files

RATE = 16000
WINDOW = 30 * RATE
HUB = "hf:"
"""Before a name on the hub, or before a folder."""
BEAMS = 5
LONGEST = 224
"""Tokens of a window."""
ENCODED = 32
"""Clips that go through the encoder together."""
KEPT = {"cuda": 2 << 30, "cpu": 1 << 30}
"""Bytes that what the encoder made of clips may take on a kind of device; it decides how many are decoded together."""


class TorchWhisper:
    """A transformers Whisper: English, beam 5, no timestamps, nothing drawn at random.

    Sound of more than 30 s is heard in windows, cut where it is quietest. Where Whisper itself holds that nobody speaks
    (probability over 0.6, and a mean log probability of the words under -1) no words are heard.

    Args:
        source: folder with config.json, tokenizer.json and safetensors weights, or "hf:NAME" of such a model on the hub.
        device: see `mamtra.runtime.device.pick_device`.
        precision: float32, float16 or bfloat16; the CPU takes float32.

    Attributes:
        about: see `mamtra.evaluate.judges.asr.Transcriber`.
        device: where it runs.
        at_once: windows that are decoded together.

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
        options = self._model.generation_config
        self._prompt, self._no_speech = _prompt(self._tokenizer, options)
        self._end = self._id("<|endoftext|>")
        self._never = self._mask([*(options.suppress_tokens or []), *range(self._prompt[-1], len(self._embedding))])
        self._not_first = self._never + self._mask(options.begin_suppress_tokens or [])
        config = self._model.config
        width = self._model.dtype.itemsize * config.d_model
        each = 2 * config.decoder_layers * config.max_source_positions * width
        self.at_once = max(1, KEPT.get(self.device.type, KEPT["cpu"]) // each)
        name = source.removeprefix(HUB) if source.startswith(HUB) else folder.resolve().name
        self.about = {
            "asr": f"{name}, transformers {metadata.version('transformers')}, beam {BEAMS}, {precision}",
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
        heard: list[list[str]] = [[] for _ in sounds]
        for start in range(0, len(pieces), self.at_once):
            texts = self._hear(pieces[start : start + self.at_once])
            for owner, text in zip(owners[start : start + self.at_once], texts, strict=True):
                heard[owner].append(text)
        return [" ".join(filter(None, texts)) for texts in heard]

    def _hear(self, pieces: Sequence[np.ndarray]) -> list[str]:
        encoded = torch.cat([self._encode(pieces[at : at + ENCODED]) for at in range(0, len(pieces), ENCODED)])
        decoder = WhisperDecoder(self._model, encoded)
        begun = decoder.start(self._prompt)
        silence = begun[:, 0].float().softmax(-1)[:, self._no_speech].tolist()
        found = beam_search(
            begun[:, -1].float() + self._not_first,
            lambda tokens, parents: decoder.follow(tokens, parents).float() + self._never,
            beams=BEAMS,
            end=self._end,
            limit=min(LONGEST, self._model.config.max_target_positions - len(self._prompt) - 1),
        )
        return [
            "" if quiet > 0.6 and mean < -1 else self._tokenizer.decode(tokens).strip()
            for tokens, mean, quiet in zip(found.tokens, found.mean_log_prob, silence, strict=True)
        ]

    def _encode(self, pieces: Sequence[np.ndarray]) -> Tensor:
        """(B, 1500, D) of windows of at most 30 s, all of which are filled up with silence."""
        waves = np.zeros((len(pieces), WINDOW), np.float32)
        for wave, piece in zip(waves, pieces, strict=True):
            wave[: len(piece)] = piece
        mel = whisper_log_mel(torch.from_numpy(waves).to(self.device), self._model.config.num_mel_bins)
        return self._model.model.encoder(mel.to(self._model.dtype)).last_hidden_state

    @property
    def _embedding(self) -> Tensor:
        return self._model.proj_out.weight

    def _id(self, token: str) -> int:
        return _id(self._tokenizer, token)

    def _mask(self, tokens: Iterable[int]) -> Tensor:
        """(V,) float32, -inf at tokens."""
        mask = torch.zeros(len(self._embedding), device=self.device)
        mask[torch.tensor([*tokens], dtype=torch.long, device=self.device)] = float("-inf")
        return mask


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
    folder = Path(source.removeprefix(HUB)).expanduser()
    if folder.is_dir() or not source.startswith(HUB):
        return folder
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(source.removeprefix(HUB), allow_patterns=["*.json", "model*.safetensors"]))
    except Exception as error:
        raise _absent(source) from error


def _load(folder: Path, source: str) -> tuple[Any, Tokenizer]:
    try:
        from transformers import WhisperForConditionalGeneration
        from transformers.utils import logging
    except ImportError as error:
        raise MamTraError(f"{source} is a Whisper of transformers; pip install 'mamtra[hf]'.") from error
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


def _prompt(tokenizer: Tokenizer, options: Any) -> tuple[list[int], int]:
    """Tokens that every transcript begins with, and the one whose probability at the first of them is that of silence."""
    plain = _id(tokenizer, "<|notimestamps|>")
    told = ["<|en|>", "<|transcribe|>"] if getattr(options, "is_multilingual", True) else []
    return [*(_id(tokenizer, token) for token in ("<|startoftranscript|>", *told)), plain], plain - 1


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise MamTraError(f"The tokenizer is not Whisper's: it has no {token}.")
    return found
