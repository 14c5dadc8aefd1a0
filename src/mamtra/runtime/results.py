"""Measured results: with what they were made, and how they become a JSON file and a page of Markdown."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mamtra.runtime.files import write_text
from mamtra.runtime.json_files import read_json, write_json
from mamtra.version import VERSION

PACKAGES = ("torch", "numpy", "soundfile", "soxr", "tokenizers", "safetensors")
_PACKAGE = Path(__file__).parents[1]


def circumstances(command: str, threads: int | None = None, packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Command, commit, weights of the embedded voice, hardware and versions.

    Args:
        command: that leads to the result.
        threads: used by it, where that is known.
        packages: whose versions are noted.
    """
    hardware = {"cpu": _cpu(), "cores": os.cpu_count(), "threads": threads, "system": platform.system()}
    versions = {"python": platform.python_version(), "mamtra": VERSION, **{name: _version(name) for name in packages}}
    return {
        "command": command,
        "commit": commit(),
        "mini": embedded_parts(),
        "hardware": hardware,
        "versions": versions,
    }


def shown_command(words: Sequence[str]) -> str:
    """The command as others would type it: of paths outside the working folder only the last part."""

    def short(word: str) -> str:
        name, sign, path = word.rpartition("=")
        if not os.path.isabs(path):
            return word
        place = Path(path)
        inside = place.is_relative_to(Path.cwd())
        return f"{name}{sign}{place.relative_to(Path.cwd()) if inside else place.name}"

    return " ".join(short(word) if " " not in word else f'"{word}"' for word in words)


def commit() -> str:
    """Hash of the commit that the package runs from, with "+ changes" where code differs; empty outside a checkout."""

    def git(folder: Path, *words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # an installed package may lie inside a checkout of something else
        if git(_PACKAGE, "ls-files", "--error-unmatch", "__init__.py") is None:
            return ""
        changed = git(_PACKAGE.parents[1], "status", "--porcelain", str(_PACKAGE), "benchmarks", "recipes")
        return f"{git(_PACKAGE, 'rev-parse', 'HEAD')}{' + changes' if changed else ''}"
    except FileNotFoundError:
        return ""


def embedded_parts() -> dict[str, str]:
    """Parts of the embedded voice, with the first digits of the SHA-256 of their weights."""
    parts = read_json(_PACKAGE / "assets" / "mini" / "provenance.json")["sha256"]
    return {name: digest[:12] for name, digest in parts.items()}


def short_numbers(value: Any) -> Any:
    """The same with numbers of eight digits: half the size of files, and more than any figure is known to."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, dict):
        return {key: short_numbers(entry) for key, entry in value.items()}
    return [short_numbers(entry) for entry in value] if isinstance(value, list | tuple) else value


def write_result(path: Path, result: dict[str, Any], render: Callable[[dict[str, Any]], str]) -> Path:
    """Write NAME.json and, rendered from what it holds, NAME.md beside it; returns the latter.

    Args:
        path: NAME.json; its folder is made where it does not exist.
        result: with `circumstances`.
        render: from the content of the JSON file to Markdown.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, short_numbers(result), sort_keys=False)
    page = path.with_suffix(".md")
    write_text(page, render(json.loads(path.read_text(encoding="utf-8"))))
    return page


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = True) -> str:
    """A Markdown table; with `numbers` all columns but the first are set to the right."""
    lines = [header, ["---", *["---:" if numbers else "---"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def footnote(result: dict[str, Any]) -> str:
    """Circumstances as a paragraph of Markdown, with what has been replaced since; hardware is left out where a result has none."""
    lines = [f"Made by `{result['command']}`", f"at {result.get('commit') or 'an unknown commit'}"]
    if machine := result.get("hardware"):
        used = "" if machine.get("threads") is None else f", {machine['threads']} threads used"
        lines.append(f"on {machine['cpu']} ({machine['cores']} cores{used});")
    lines.append(", ".join(f"{name} {number}" for name, number in result["versions"].items()) + ".")
    now = embedded_parts()
    if other := [name.replace("_", " ") for name, digest in result.get("mini", {}).items() if digest != now.get(name)]:
        lines.append(f"Since then the embedded voice has got another {', '.join(other)}.")
    return "\n".join(lines)


def page(result: dict[str, Any], *parts: str) -> str:
    """A page of Markdown: its parts, and how they were measured."""
    return "\n\n".join([*parts, "## How it was measured", footnote(result)]) + "\n"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
