"""Results of a reproduction: data, table and figure, written with what made them."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import mamtra
from mamtra.runtime.files import atomic_file, write_text


@dataclass(frozen=True)
class StudyResult:
    """What reproducing a table or figure gave.

    Attributes:
        name: such as ``"table2"``; files are called after it.
        title: headline of the page.
        data: everything that was found, for JSON.
        rows: the main table, one mapping of columns a row, for CSV.
        page: Markdown below the headline, rendered from the data.
        draw: writes the figure as SVG to a path of any suffix, where there is one.
    """

    name: str
    title: str
    data: dict[str, Any]
    rows: Sequence[dict[str, Any]]
    page: str
    draw: Callable[[Path], None] | None = field(default=None, compare=False)

    def content(self, command: str) -> dict[str, Any]:
        """The data with the circumstances, for JSON."""
        return {"name": self.name, "title": self.title, **circumstances(command), **_short(self.data)}

    def write(self, directory: Path, command: str) -> list[Path]:
        """Write NAME.json, NAME.csv, NAME.md and, where there is a figure, NAME.svg.

        Args:
            directory: made where it does not exist.
            command: that leads to this result.

        Returns:
            The files.
        """
        directory.mkdir(parents=True, exist_ok=True)
        files = [directory / f"{self.name}{suffix}" for suffix in (".json", ".csv", ".md", ".svg")]
        content = self.content(command)
        write_text(files[0], json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        with atomic_file(files[1]) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_short(self.rows))
        picture = "" if self.draw is None else f"![{self.title}]({files[3].name})\n\n"
        page = f"# {self.title}\n\n{picture}{self.page}\n\n{_footnote(content)}\n"
        write_text(files[2], page)
        if self.draw is None:
            return files[:3]
        with atomic_file(files[3]) as partial:
            self.draw(partial)
        return files


def _short(value: Any) -> Any:
    """The same with numbers of eight digits: half the size of files, and more than any figure is known to."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items()}
    return [_short(entry) for entry in value] if isinstance(value, list | tuple) else value


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def circumstances(command: str) -> dict[str, Any]:
    """Command, version, commit, hardware and versions of what computes."""
    return {
        "command": command,
        "version": mamtra.__version__,
        "commit": commit(),
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch")},
    }


def commit() -> str | None:
    """Hash of the commit that the package runs from, with "+ changes" where files differ; None outside a checkout."""
    package = Path(mamtra.__file__).parent

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # an installed package may lie inside a checkout of something else
        if git("ls-files", "--error-unmatch", "__init__.py") is None:
            return None
        return f"{git('rev-parse', 'HEAD')}{' + changes' if git('status', '--porcelain', '.') else ''}"
    except FileNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _footnote(content: dict[str, Any]) -> str:
    machine = content["hardware"]
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return (
        f"Made by `{content['command']}`, mamtra {content['version']} at {content['commit'] or 'no known commit'},\n"
        f"on {machine['cpu']} ({machine['cores']} cores, {machine['system']}); {versions}."
    )
