"""What every result carries: the command, the code, the machine, the versions; and how results become Markdown."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mamtra.runtime.files import write_text

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("mamtra", "torch", "numpy", "soundfile", "soxr", "tokenizers", "safetensors")


def shown_command(argv: Sequence[str]) -> str:
    """The command as others would type it: paths outside the working folder are shortened to their last part."""

    def short(word: str) -> str:
        name, sign, path = word.rpartition("=")
        if not os.path.isabs(path):
            return word
        place = Path(path)
        inside = place.is_relative_to(Path.cwd())
        return f"{name}{sign}{place.relative_to(Path.cwd()) if inside else place.name}"

    return " ".join(["python", *(short(word) if " " not in word else f'"{word}"' for word in argv)])


def commit() -> str:
    """Hash of the commit, with "+ changes" where the working tree differs from it; empty outside a repository."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return git("rev-parse", "HEAD") + (" + changes" if git("status", "--porcelain", "src", "benchmarks") else "")
    except FileNotFoundError:
        return ""


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        if package == "mamtra":
            import mamtra

            return mamtra.__version__
        return "not installed"


def circumstances(argv: Sequence[str], threads: int) -> dict[str, Any]:
    """Command, commit, hardware and versions."""
    return {
        "command": shown_command(argv),
        "commit": commit(),
        "hardware": {"cpu": cpu_model(), "cores": os.cpu_count(), "threads": threads, "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def write_results(path: Path, results: dict[str, Any], markdown: str) -> Path:
    """Writes NAME.json and, rendered from it, NAME.md beside it; returns the latter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    page = path.with_suffix(".md")
    write_text(page, markdown)
    return page


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def footnotes(results: dict[str, Any]) -> str:
    """Circumstances as a paragraph of Markdown."""
    machine, versions = results["hardware"], results["versions"]
    return "\n".join([
        f"Made by `{results['command']}`",
        f"at {results['commit'] or 'an unknown commit'}",
        f"on {machine['cpu']} ({machine['cores']} cores, {machine['threads']} threads used);",
        ", ".join(f"{name} {number}" for name, number in versions.items()) + ".",
    ])  # fmt: skip


def say_progress(title: str) -> Any:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(f"{title:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not sys.stderr.isatty())
