"""Which files of a directory are CosyVoice 2's or 3's: releases and training runs name some of them differently."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mamtra.errors import MamTraError

REINFORCED = "llm.rl.pt"
"""What CosyVoice 3 is published with besides: the language model, trained further by reinforcement learning."""
LANGUAGE_MODELS = ("llm.pt", REINFORCED)
"""The first one that is there is used."""
VOCODER = "hift.pt"
FIRST_YAML = "cosyvoice.yaml"
"""The name of the settings in the first release of CosyVoice 2, and in all of CosyVoice 1."""
FLOWS = ("flow.pt", "flow.cache.pt")
"""The second one has the same tensors; some directories hold it alone."""
_SECOND_GENERATION = b"Qwen2LM"


@dataclass(frozen=True)
class Family:
    """A generation of CosyVoice.

    Attributes:
        name: of the generation.
        settings: the file of its settings.
        voice_space: models with the published speech and text tokenizers can share voices.
        speech_tokenizer: the file of its speech tokenizer.
        mel_high: upper edge of the mel in Hz, where the settings do not say it.
    """

    name: str
    settings: str
    voice_space: str
    speech_tokenizer: str
    mel_high: float


SECOND = Family("CosyVoice 2", "cosyvoice2.yaml", "cosyvoice2", "speech_tokenizer_v2.onnx", 8000.0)
THIRD = Family("CosyVoice 3", "cosyvoice3.yaml", "cosyvoice3", "speech_tokenizer_v3.onnx", 12000.0)
FAMILIES = (SECOND, THIRD)
VOICE_SPACES = tuple(family.voice_space for family in FAMILIES)


def find_settings(directory: Path) -> Path | None:
    """The settings of a CosyVoice 2 or 3 directory; None where there are none.

    Raises:
        MamTraError: there are those of both.
    """
    found = [directory / family.settings for family in FAMILIES if (directory / family.settings).is_file()]
    if len(found) > 1:
        raise MamTraError(
            f"{directory} has {' and '.join(path.name for path in found)}, and so files of two models; "
            "keep the files of each model in a directory of its own."
        )
    if found:
        return found[0]
    first = directory / FIRST_YAML
    if first.is_file() and _SECOND_GENERATION in first.read_bytes()[: 2**20]:
        return first
    return None


def family_of(directory: Path) -> Family:
    """The generation of a directory by its settings; CosyVoice 2 where it has none.

    Raises:
        MamTraError: see `find_settings`.
    """
    path = find_settings(directory)
    return THIRD if path is not None and path.name == THIRD.settings else SECOND


def check_generation(path: Path, generation: Family, settings: Path) -> None:
    """Refuse a file of one CosyVoice among the settings of another.

    Raises:
        MamTraError: it is.
    """
    said = THIRD if settings.name == THIRD.settings else SECOND
    if generation != said:
        raise MamTraError(
            f"{path} is {generation.name}'s, but {settings.name} {said.name}'s; put the files of one model together."
        )


def find_lm(directory: Path) -> Path:
    """The weights of the language model; the usual name where there are none."""
    return _first(directory, LANGUAGE_MODELS)


def find_flow(directory: Path) -> Path:
    """The weights of the flow; the usual name where there are none."""
    return _first(directory, FLOWS)


def _first(directory: Path, names: tuple[str, ...]) -> Path:
    found = [directory / name for name in names if (directory / name).is_file()]
    return found[0] if found else directory / names[0]


def is_cosyvoice(directory: Path) -> bool:
    """Whether a directory looks like one of CosyVoice 2 or 3.

    Raises:
        MamTraError: it is of CosyVoice 1.
    """
    if find_settings(directory) is not None:
        return True
    if (directory / FIRST_YAML).is_file():
        raise MamTraError(
            f"{directory} is a CosyVoice 1 model; of the CosyVoice models only CosyVoice 2 and 3 are supported."
        )
    return find_lm(directory).is_file()
