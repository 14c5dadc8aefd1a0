"""Write docs/settings.md, every setting of a training run and of the paper's experiments: `python docs/make_settings.py`.

Kinds, defaults and descriptions are those of the settings' classes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mamtra.distill.config import DistillConfig
from mamtra.distill.flow_settings import FlowDistillConfig
from mamtra.paper.settings import ExperimentSettings

PAGE = Path(__file__).resolve().parent / "settings.md"
HEAD = """# Settings

Made by `python docs/make_settings.py` from the descriptions in the source. A YAML file holds them by section; on the command line
they are dotted: `optimizer.lr=2e-5`; `mamtra distill-flow` has no file. An unknown setting is refused. How to use them:
[distillation](distill.md), [experiments](experiments.md), [conversion](convert.md); the options of `mamtra prepare` are in
`mamtra prepare --help` and [distillation](distill.md#preparing-a-corpus).
"""
SECTIONS = {
    "Of `mamtra distill`": DistillConfig,
    "Of `mamtra distill-flow`": FlowDistillConfig,
    "Of `mamtra reproduce --config`": ExperimentSettings,
}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, model in SECTIONS.items():
        places: dict[type[BaseModel], str] = {}
        for name, one in _models(model, ""):
            places.setdefault(one, name)
        parts.append(f"## {title}\n")
        parts += [_table(name, one, places) for one, name in places.items()]
    return "\n".join(parts)


def _models(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A settings class and those of its sections, with their places."""
    yield place, model
    for name, field in model.model_fields.items():
        for inner in _inner(field.annotation):
            yield from _models(
                inner, f"{place}.{name}".strip(".") + (".NAME" if get_origin(field.annotation) is dict else "")
            )


def _inner(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for part in get_args(annotation) for inner in _inner(part)]


def _table(place: str, model: type[BaseModel], places: dict[type[BaseModel], str]) -> str:
    title = f"### `{place}`\n\n" if place else ""
    words, lines = descriptions(model), ["| setting | kind | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        dotted = f"{place}.{name}".strip(".")
        lines.append(f"| `{dotted}` | {_kind(field.annotation, places)} | {_default(field)} | {words[name]} |")
    return title + "\n".join(lines) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring of a settings class, and of those it extends, says of each attribute."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        text = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for name, words in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.M):
            found[name] = " ".join(words.split()).replace("``", "`").replace("|", "\\|")
    return found


def _kind(annotation: Any, places: dict[type[BaseModel], str]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_kind(part, places) for part in parts if part is not NoneType)
    if origin is tuple:
        return f"list of {_kind(parts[0], places)}"
    if origin is dict:
        return f"{_kind(parts[1], places)} by name"
    if hasattr(annotation, "__metadata__"):
        return _kind(parts[0], places)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"section `{places[annotation]}`"
    return {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "value"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ((), {}):
        return ""
    shown = str(value).lower() if isinstance(value, bool) else value
    return f"`{', '.join(map(str, shown)) if isinstance(shown, tuple) else shown}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
