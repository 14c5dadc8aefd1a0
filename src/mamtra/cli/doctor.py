"""`mamtra doctor`: what this installation can do, and how to get the rest."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import typer

from mamtra.cli.doctor_model import examine_model, usable
from mamtra.cli.options import Json
from mamtra.runtime.printable import printable

LINE = 1000
"""Longest line that is printed."""
CORE = (
    "numpy",
    "onnxruntime",
    "safetensors",
    "soundfile",
    "soxr",
    "typer",
    "rich",
    "pydantic",
)
EXTRAS = {
    "hub": (
        "pull, models by their names on the Hugging Face hub, models that read letters",
        ("huggingface-hub", "tokenizers"),
    ),
    "torch": ("clones, GPUs, CosyVoice 2, every other verb", ("torch", "PyYAML")),
    "formats": ("aac files with say; m4a, mp4, aac and webm recordings", ("av",)),
    "train": (
        "prepare hf:NAME, run.tensorboard of distill, the recipe of the built-in voice",
        ("hibari-tts", "praat-parselmouth", "onnx", "tensorboard", "datasets"),
    ),
    "eval": (
        "evaluate, compare, report, listen, rank --criterion wer, --plot, the figures of reproduce",
        ("matplotlib", "faster-whisper", "whisper-normalizer", "rapidfuzz", "scipy", "jinja2"),
    ),
    "serve": ("serve", ("fastapi", "uvicorn", "python-multipart", "prometheus-client", "websockets", "wyoming")),
    "hf": ("mamtra.hf, evaluate --whisper hf:NAME", ("transformers",)),
    "cosyvoice": ("voices add, prepare and the text rules of CosyVoice 2", ("onnxruntime", "wetext", "inflect")),
    "ray": ("prepare --ray", ("ray",)),
}
"""Extras of the package: what needs them, and their packages."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("doctor", epilog="Example: mamtra doctor --json")(doctor)


def doctor(
    model: str | None = typer.Option(None, metavar="M", help="Model directory or name to examine."),
    as_json: Json = False,
) -> None:
    """Tell what this installation can do, and how to get the rest. Status 2 where the model cannot be used."""
    facts = examine(model)
    print(json.dumps(facts) if as_json else describe(facts))
    if not usable(facts["model"]):
        raise typer.Exit(2)


def examine(model: str | None = None) -> dict[str, Any]:
    """All facts, ready for JSON. Never fails because of what is missing: that is what it reports."""
    from mamtra.audio.formats import available_formats
    from mamtra.checkpoints.find import built_in_models
    from mamtra.cli.player import find_player
    from mamtra.light.choice import describe_runtimes
    from mamtra.version import VERSION
    from mamtra.voices.library import user_home

    player = find_player()
    return {
        "mamtra": VERSION,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in CORE},
        "runtimes": describe_runtimes(),
        "devices": _devices(),
        "formats": dict(available_formats()),
        "extras": {name: all(map(_version, packages)) for name, (_, packages) in EXTRAS.items()},
        "player": player[0] if player else None,
        "home": str(user_home()),
        "models": list(built_in_models()),
        "model": examine_model(model),
    }


def describe(facts: dict[str, Any]) -> str:
    """The facts as lines for a person, with what to do where something is missing."""

    def marks(table: dict[str, bool]) -> str:
        return "  ".join(f"{name} {'yes' if able else 'no'}" for name, able in table.items())

    found = facts["model"]
    lines = [
        f"mamtra    {facts['mamtra']} on Python {facts['python']}, {facts['system']}",
        "packages  " + "  ".join(f"{name} {version or 'MISSING'}" for name, version in facts["packages"].items()),
        "runtimes  " + "  ".join(f"{name} {state}" for name, state in facts["runtimes"].items()),
        f"devices   {', '.join(facts['devices'])}",
        f"formats   {marks(facts['formats'])}",
        f"extras    {marks(facts['extras'])}",
        f"player    {facts['player'] or 'none'}",
        f"home      {facts['home']}",
        f"models    {', '.join(facts['models']) or 'none built in'}",
    ]
    if found["directory"]:
        lines.append(f"model     {found['directory']}: {marks(found['parts'])}")
        lines.append(f"voices    {', '.join(found['voices']) or 'none'}")
    lines += [f"problem   {sentence}" for sentence in found["problems"]]
    if "causal_lm" in found["parts"]:
        lines.append("note      This is a language model alone, without a flow and a vocoder; it cannot speak.")
    for name, (features, packages) in EXTRAS.items():
        missing = [package for package in packages if not _version(package)]
        if missing:
            lines.append(f"to get    {features}: pip install 'mamtra[{name}]' (brings {', '.join(missing)})")
    return "\n".join(printable(line, LINE) for line in lines)


def _devices() -> list[str]:
    if find_spec("torch") is None:
        return ["cpu"]
    from mamtra.runtime.device import describe_devices

    return describe_devices()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
