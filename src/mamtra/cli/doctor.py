"""`mamtra doctor`: what this installation can do, and how to get the rest."""

from __future__ import annotations

import importlib.util
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

CORE = (
    "torch",
    "numpy",
    "safetensors",
    "tokenizers",
    "soundfile",
    "soxr",
    "typer",
    "rich",
    "pydantic",
    "huggingface-hub",
)
EXTRAS = {
    "formats": ("AAC sound", ("av",)),
    "train": (
        "corpora of Hugging Face, TensorBoard, the recipe of the built-in voice",
        ("datasets", "hibari", "parselmouth"),
    ),
    "eval": ("transcription, word error rates, plots", ("faster_whisper", "matplotlib", "whisper_normalizer")),
    "hf": ("models in Hugging Face transformers", ("transformers",)),
    "cosyvoice": ("voices from recordings with CosyVoice 2", ("onnxruntime",)),
    "ray": ("prepare --ray", ("ray",)),
}
"""Extras of the package: what they are for, and the modules that they need."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("doctor", epilog="Example: mamtra doctor --json")(doctor)


def doctor(
    model: str | None = typer.Option(None, "--model", metavar="M", help="Model directory or name to examine."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Tell what this installation can do, and how to get the rest."""
    facts = examine(model)
    print(json.dumps(facts) if as_json else describe(facts))


def examine(model: str | None = None) -> dict[str, Any]:
    """All facts, ready for JSON. Never fails because of what is missing: that is what it reports."""
    from mamtra.audio.formats import available_formats
    from mamtra.checkpoints.find import built_in_models
    from mamtra.cli.player import find_player
    from mamtra.runtime.device import describe_devices
    from mamtra.version import VERSION
    from mamtra.voices.library import user_home

    player = find_player()
    return {
        "mamtra": VERSION,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in CORE},
        "devices": describe_devices(),
        "formats": available_formats(),
        "extras": {name: all(map(_present, modules)) for name, (_, modules) in EXTRAS.items()},
        "player": player[0] if player else None,
        "home": str(user_home()),
        "models": list(built_in_models()),
        "model": _examine_model(model),
    }


def describe(facts: dict[str, Any]) -> str:
    """The facts as lines for a person, with what to do where something is missing."""

    def marks(table: dict[str, bool]) -> str:
        return "  ".join(f"{name} {'yes' if able else 'no'}" for name, able in table.items())

    found = facts["model"]
    lines = [
        f"mamtra    {facts['mamtra']} on Python {facts['python']}, {facts['system']}",
        "packages  " + "  ".join(f"{name} {version or 'MISSING'}" for name, version in facts["packages"].items()),
        f"devices   {', '.join(facts['devices'])}",
        f"formats   {marks(facts['formats'])}",
        f"extras    {marks(facts['extras'])}",
        f"player    {facts['player'] or 'none'}",
        f"home      {facts['home']}",
        f"models    {', '.join(facts['models']) or 'none built in'}",
    ]
    if found["problem"]:
        lines.append(f"model     {found['problem']}")
    else:
        lines.append(f"model     {found['directory']}: {marks(found['parts'])}")
        lines.append(f"voices    {', '.join(found['voices']) or 'none'}")
    missing = [name for name, able in facts["extras"].items() if not able]
    lines += [f"to get    {EXTRAS[name][0]}: pip install 'mamtra[{name}]'" for name in missing]
    return "\n".join(lines)


def _examine_model(name: str | None) -> dict[str, Any]:
    from mamtra.checkpoints.find import find_model
    from mamtra.checkpoints.native import CONFIG, base_of, find_beside, read_config
    from mamtra.checkpoints.parts import PARTS
    from mamtra.errors import MamTraError
    from mamtra.voices.library import VoiceLibrary

    try:
        directory = find_model(name)
        if not (directory / CONFIG).is_file():
            return _examine_published(directory)
        base = base_of(directory)
        sections = {**(read_config(base) if base else {}), **read_config(directory)}
    except MamTraError as error:
        return {"problem": str(error)}
    parts = {
        name: name in sections and find_beside(directory, part.file).is_file()
        for name, part in PARTS.items()
        if part.speaks or name in sections
    }
    return _found(directory, parts, list(VoiceLibrary(directory).paths()))


def _examine_published(directory: Path) -> dict[str, Any]:
    """A CosyVoice 2 directory as it was published.

    Raises:
        MamTraError: it is none.
    """
    from mamtra.synthesis.cosyvoice_model import FILES
    from mamtra.synthesis.open_model import open_model
    from mamtra.voices.library import VoiceLibrary

    speakers = open_model(directory).speakers
    parts = {name: (directory / file).is_file() for name, file in FILES.items()}
    return _found(
        directory, parts, [*speakers, *(name for name in VoiceLibrary(directory).paths() if name not in speakers)]
    )


def _found(directory: Path, parts: dict[str, bool], voices: list[str]) -> dict[str, Any]:
    return {"problem": None, "directory": str(directory), "parts": parts, "voices": voices}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
