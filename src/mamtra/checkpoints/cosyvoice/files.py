"""Which files of a directory are CosyVoice 2's: releases and training runs name some of them differently."""

from __future__ import annotations

from pathlib import Path

from mamtra.errors import MamTraError

VOICE_SPACE = "cosyvoice2"
"""Models with the published speech and text tokenizers can share voices."""
WEIGHTS = "llm.pt"
VOCODER = "hift.pt"
YAML = "cosyvoice2.yaml"
FIRST_YAML = "cosyvoice.yaml"
"""The name of the settings in the first release, and in all of CosyVoice 1."""
FLOWS = ("flow.pt", "flow.cache.pt")
"""The second one has the same tensors; some directories hold it alone."""
OTHERS = {FIRST_YAML: "CosyVoice 1", "cosyvoice3.yaml": "CosyVoice 3"}
_SECOND_GENERATION = b"Qwen2LM"


def find_settings(directory: Path) -> Path | None:
    """The settings of a CosyVoice 2 directory; None where there are none."""
    if (directory / YAML).is_file():
        return directory / YAML
    first = directory / FIRST_YAML
    if first.is_file() and _SECOND_GENERATION in first.read_bytes()[: 2**20]:
        return first
    return None


def find_flow(directory: Path) -> Path:
    """The weights of the flow; the usual name where there are none."""
    found = [directory / name for name in FLOWS if (directory / name).is_file()]
    return found[0] if found else directory / FLOWS[0]


def is_cosyvoice(directory: Path) -> bool:
    """Whether a directory looks like one of CosyVoice 2.

    Raises:
        MamTraError: it is of another CosyVoice.
    """
    if find_settings(directory) is not None:
        return True
    for name, what in OTHERS.items():
        if (directory / name).is_file():
            raise MamTraError(f"{directory} is a {what} model; of the CosyVoice models only CosyVoice 2 is supported.")
    return (directory / WEIGHTS).is_file()
