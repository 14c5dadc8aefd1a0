"""From the name of a system that is not ours to its adapter."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mamtra.errors import MamTraError
from mamtra.runtime.files import hash_files

KINDS = {"openai": "OpenAISpeech", "zonos": "Zonos", "llasa": "Llasa"}
"""By the word before the colon of a system's name: the class in the module of that name."""
KEY_VARIABLE = "OPENAI_API_KEY"


class SystemFailure(MamTraError):
    """The system fails as a whole, not at one text: an evaluation stops, and continues where it stopped."""


class Adapter(Protocol):
    """A system that speaks.

    Attributes:
        about: what it is, for the fingerprint of a score file: "system" and whatever else decides its sound.
        sample_rate: of its samples, Hz.
    """

    about: dict[str, Any]
    sample_rate: int

    def speak(self, text: str, prompt_wav: Path | None, prompt_text: str | None) -> np.ndarray:
        """Speak a text.

        Args:
            text: what to say.
            prompt_wav: a recording of the speaker; the system's own choice where None.
            prompt_text: what is said in it.

        Returns:
            float32 (T,) in [-1, 1].

        Raises:
            SystemFailure: the system cannot be reached or used.
            MamTraError: it refuses this text, which counts as not spoken.
        """


@dataclass(frozen=True)
class AdapterOptions:
    """What an adapter may want beside its place.

    Attributes:
        voice: for lines without a prompt, where the system has voices by name.
        model: of a server by its name; the codec of Llasa.
        device: of a system that runs in this process; chosen where None.
        key_variable: environment variable with the key of a server.
    """

    voice: str | None = None
    model: str | None = None
    device: str | None = None
    key_variable: str = KEY_VARIABLE


def is_foreign(name: str) -> bool:
    """Whether a system's name is that of an adapter: KIND:PLACE, or a Python file."""
    return name.partition(":")[0] in KINDS or name.endswith(".py")


def open_adapter(name: str, options: AdapterOptions) -> Adapter:
    """The adapter of a system.

    Args:
        name: "openai:URL", "zonos:transformer", "zonos:hybrid" or "zonos:DIR|NAME", "llasa:DIR|NAME", or a Python file with
            ``SAMPLE_RATE`` and ``speak(text, prompt_wav, prompt_text)``.
        options: see `AdapterOptions`.

    Raises:
        MamTraError: the system is not installed, not there, or does not fit.
    """
    if name.endswith(".py"):
        return OwnFile(Path(name))
    kind, _, place = name.partition(":")
    module = importlib.import_module(f"mamtra.evaluate.adapters.{kind}")
    return getattr(module, KINDS[kind])(place, options)


class OwnFile:
    """A Python file of the user's, which is executed.

    Raises:
        MamTraError: it is missing, cannot be run, or lacks one of the two names.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MamTraError(f"There is no file {path} with a `speak` of its own.")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever somebody's code raises
            raise MamTraError(f"{path} cannot be run: {type(error).__name__}: {error}.") from error
        rate = getattr(module, "SAMPLE_RATE", None)
        if not callable(getattr(module, "speak", None)) or not isinstance(rate, int) or rate < 1:
            raise MamTraError(
                f"{path} should have SAMPLE_RATE = 24000 (or another) and a function speak(text, prompt_wav, prompt_text)."
            )
        self.sample_rate, self._speak = rate, module.speak
        self.about = {"system": path.stem, "sha256": hash_files(path)[:16]}

    def speak(self, text: str, prompt_wav: Path | None, prompt_text: str | None) -> np.ndarray:
        """See `Adapter.speak`."""
        return self._speak(text, prompt_wav, prompt_text)
