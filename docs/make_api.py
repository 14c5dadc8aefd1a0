"""Write docs/api.md from docstrings: `python docs/make_api.py`.

Public are the names in `__all__` of the package and of its rooms; nothing is listed here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import mamtra

PAGE = Path(__file__).resolve().parent / "api.md"
HEAD = """# Python interface

Made by `python docs/make_api.py` from the docstrings. Everything else in the package may change without notice.
"""


def public() -> dict[str, list[str]]:
    """Names that each package offers."""
    rooms = [f"mamtra.{room.name}" for room in pkgutil.iter_modules(mamtra.__path__) if room.ispkg]
    offers = {name: getattr(importlib.import_module(name), "__all__", ()) for name in ("mamtra", *sorted(rooms))}
    return {name: sorted(n for n in names if not n.startswith("_")) for name, names in offers.items() if names}


class Written(str):
    """An annotation as it stands in the source, without quotes."""

    __repr__ = str.__str__


def signature(value: Any) -> str:
    found = inspect.signature(value)
    written = [p.replace(annotation=Written(p.annotation)) if isinstance(p.annotation, str) else p
               for p in found.parameters.values()]  # fmt: skip
    returns = found.return_annotation
    returns = Written(returns) if isinstance(returns, str) else returns
    lines = str(found.replace(parameters=written, return_annotation=returns))
    return lines if len(lines) < 100 else lines.replace("(", "(\n    ", 1).replace(", ", ",\n    ")


def described(title: str, name: str, value: Any) -> list[str]:
    """Heading, signature and docstring."""
    doc = inspect.getdoc(value) or ""
    shown = f"```text\n{name}{signature(value)}\n```" if callable(value) else ""
    return [title, *([shown] if shown else []), f"```text\n{doc}\n```" if "\n" in doc else doc]


def entry(package: str, name: str) -> list[str]:
    value = getattr(importlib.import_module(package), name)
    if not isinstance(value, type):
        return described(f"### `{package}.{name}`", name, value)
    doc = inspect.getdoc(value) or ""
    parts = [f"### `{package}.{name}`", f"```text\n{doc}\n```" if "\n" in doc else doc]
    for member, each in vars(value).items():
        each = getattr(each, "__func__", each)
        if member.startswith("_") or not (inspect.isfunction(each) or isinstance(each, property)) or not each.__doc__:
            continue
        parts += described(f"#### `{name}.{member}`", member, each)
    return parts


def page() -> str:
    """The text of docs/api.md."""
    parts = [HEAD.strip()]
    for package, names in public().items():
        parts.append(f"## {package}")
        for name in names:
            parts += entry(package, name)
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
