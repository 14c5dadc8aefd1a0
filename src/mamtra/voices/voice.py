"""A voice: a short prompt that the model continues, stored as one safetensors file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_readable, write_bytes
from mamtra.voices.info import VoiceInfo, check_name, parse_info

if TYPE_CHECKING:
    import torch

Arrays = Literal["torch", "numpy"]
"""Whose arrays a voice holds: of the library that the model computes with."""
Mode = Literal["zero-shot", "cross-lingual", "speaker"]
"""What of a voice is used; see `Voice.in_mode`."""
MEL_BANDS = 80
_TENSORS = ("prompt_text", "prompt_speech", "prompt_mel", "embedding")


@dataclass(frozen=True, repr=False)
class Voice:
    """A voice to speak with. Its arrays are torch tensors, or those of numpy, see `to`.

    Attributes:
        info: name, licence, consent and so on.
        prompt_text: int64 (T,), text ids of the prompt's transcript; empty where none is known.
        prompt_speech: int64 (N,), speech tokens of the prompt at 25 Hz.
        prompt_mel: float32 (2N, 80), log-mel frames of the prompt at 50 Hz.
        embedding: float32 (E,), speaker embedding.
        advice: sentences on how to make a better recording.
        instructed: whether `prompt_text` is an instruction, see `instruct`; such a voice cannot be saved.
    """

    info: VoiceInfo
    prompt_text: torch.Tensor | np.ndarray
    prompt_speech: torch.Tensor | np.ndarray
    prompt_mel: torch.Tensor | np.ndarray
    embedding: torch.Tensor | np.ndarray
    advice: tuple[str, ...] = field(default=(), compare=False)
    instructed: bool = False

    @property
    def name(self) -> str:
        """Name of the voice."""
        return self.info.name

    @property
    def seconds(self) -> float:
        """Duration of the prompt."""
        return len(self.prompt_speech) / 25.0

    @property
    def lm_prompt(self) -> tuple[torch.Tensor | np.ndarray, torch.Tensor | np.ndarray]:
        """Text ids and speech tokens that the LM continues; both empty where there is no transcript.

        Speech without its text would only mislead the LM, so a voice without a transcript conditions the flow alone
        (CosyVoice's cross-lingual mode).
        """
        if self.instructed or len(self.prompt_text) == 0:
            return self.prompt_text, self.prompt_speech[:0]
        return self.prompt_text, self.prompt_speech

    def __repr__(self) -> str:
        return f"<Voice {self.name!r}: {self.info.language}, prompt of {self.seconds:.1f} s>"

    @checked
    def to(self, arrays: Arrays) -> Voice:
        """The same voice with arrays of torch or of numpy; itself where it has them already."""
        if isinstance(self.prompt_mel, np.ndarray) == (arrays == "numpy"):
            return self
        if arrays == "numpy":
            made = {name: np.asarray(getattr(self, name).cpu()) for name in _TENSORS}
        else:
            import torch

            made = {name: torch.from_numpy(np.array(getattr(self, name))) for name in _TENSORS}
        return replace(self, **made)

    @checked
    def instruct(self, ids: list[int]) -> Voice:
        """The same timbre, speaking as the text ids of an instruction say instead of as in the prompt (CosyVoice 2's instruct)."""
        text = np.array(ids, np.int64)
        if not isinstance(self.prompt_mel, np.ndarray):
            import torch

            text = torch.from_numpy(text)
        return replace(self, prompt_text=text, instructed=True)

    @checked
    def in_mode(self, mode: str) -> Voice:
        """The same voice, of which less is used; "zero-shot" uses everything.

        Args:
            mode: "cross-lingual" keeps what was said in the prompt, and how, from the LM; "speaker" leaves the embedding alone.

        Raises:
            MamTraError: there is no such mode.
        """
        if mode not in get_args(Mode):
            raise MamTraError(f"There is no mode {mode!r}; use {', '.join(get_args(Mode))}.")
        if mode == "zero-shot":
            return self
        known = replace(self, prompt_text=self.prompt_text[:0])
        if mode == "cross-lingual":
            return known
        return replace(known, prompt_speech=self.prompt_speech[:0], prompt_mel=self.prompt_mel[:0])

    @property
    def pitch_range(self) -> PitchRange:
        """What the vocoder makes of the pitch."""
        return PitchRange(self.info.pitch, self.info.pitch_range) if self.info.pitch else AS_IT_IS

    @cached_property
    def prompt_digest(self) -> str:
        """SHA-256 of what flow and vocoder are given of the voice; voices of equal sound share it."""
        own, digest = self.to("numpy"), hashlib.sha256()
        for array in (own.prompt_speech, own.prompt_mel, own.embedding):
            digest.update(np.ascontiguousarray(array).tobytes())
        if self.pitch_range != AS_IT_IS:
            digest.update(repr(self.pitch_range).encode())
        return digest.hexdigest()

    @classmethod
    @checked
    def preset(cls, name: str, tensors: Mapping[str, Any], space: str) -> Voice:
        """The voice of a preset speaker of a model, from its tensors by name."""
        return cls(VoiceInfo(name=name, description="preset speaker", voice_space=space), **tensors)

    @checked
    def renamed(self, name: str, **changes: Any) -> Voice:
        """The same voice under another name; `changes` are other header fields.

        Raises:
            MamTraError: the name cannot be one, or a field's value is out of its range.
        """
        info = VoiceInfo.model_validate({**self.info.model_dump(), **changes, "name": check_name(name)})
        return replace(self, info=info)

    @checked
    def save(self, path: str | os.PathLike) -> Path:
        """Write the voice; the mel is stored in float16.

        Raises:
            MamTraError: the file cannot be written, or the voice is instructed.
        """
        if self.instructed:
            raise MamTraError("An instructed voice is for one text; save the voice that it was made of.")
        kinds = dict(zip(_TENSORS, (np.int64, np.int16, np.float16, np.float32), strict=True))
        own = self.to("numpy")
        tensors = {name: np.ascontiguousarray(getattr(own, name), kind) for name, kind in kinds.items()}
        write_bytes(path, save(tensors, metadata={k: str(v) for k, v in self.info.model_dump().items()}))
        return Path(path)

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike, arrays: Arrays = "torch") -> Voice:
        """Read a voice file.

        Args:
            path: the file.
            arrays: see `to`.

        Raises:
            MamTraError: missing or damaged, or not a voice.
        """
        path = Path(path)
        if not path.is_file():
            raise MamTraError(f"There is no voice file {path}.")
        check_readable(path)
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise MamTraError(f"{path} is damaged or is not a voice file; make the voice again.") from error
        missing = [name for name in _TENSORS if name not in tensors]
        if missing:
            raise MamTraError(f"{path} is not a voice file: it has no {', '.join(missing)}.")
        text, speech = (tensors[name].astype(np.int64) for name in _TENSORS[:2])
        mel, embedding = (tensors[name].astype(np.float32) for name in _TENSORS[2:])
        if (text.ndim, speech.ndim, embedding.ndim) != (1, 1, 1) or mel.shape != (2 * speech.size, MEL_BANDS):
            raise MamTraError(f"{path} is damaged: the sizes of its arrays do not fit; make the voice again.")
        if not (np.isfinite(mel).all() and np.isfinite(embedding).all()):
            raise MamTraError(f"{path} is damaged: it holds values that are not numbers; make the voice again.")
        return cls(parse_info(path, metadata), text, speech, mel, embedding).to(arrays)
