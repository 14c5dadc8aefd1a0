"""Settings from YAML files, read strictly: plain mappings, lists and scalars, without aliases, tags and repeated keys."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from mamtra.errors import MamTraError
from mamtra.runtime.text_files import read_text

_DEPTH = 32
_LARGEST = 2**20
_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool")


class BoundedLoader(yaml.SafeLoader):
    """Plain values without aliases, with which a small file can stand for gigabytes, and nested 32 deep at most."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            raise _refused(self.peek_event(), "aliases (*name) are not supported")
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > _DEPTH:
            raise _refused(self.peek_event(), f"it is nested deeper than {_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(BoundedLoader):
    """Numbers as in YAML 1.2: 1:3 is a string here, not 63, and 2e-5 a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, "a key has to be a word")
            if key.value in seen:
                raise _refused(key, f"the key {key.value} is there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(place: yaml.Node | yaml.Event, why: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, place.start_mark)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = node.value
    try:
        value = int(text) if node.tag.endswith(":int") else float(text)
    except ValueError as error:
        if not re.fullmatch(r"[-+]?[\d.]+", text):
            raise _refused(node, f"{text[:20]!r} is no number") from error
        raise _refused(
            node, f"the number {text[:20]}... is too long"
        ) from error  # Python limits the digits of an integer
    if abs(value) > 1e300 and not (isinstance(value, float) and math.isinf(value) and "inf" in text.lower()):
        raise _refused(node, f"the number {text[:20]} is too large")
    return value


_Loader.yaml_implicit_resolvers = {
    first: kept
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [(tag, rule) for tag, rule in rules if tag in _KEPT])
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?\d+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag in _KEPT or (tag or "").rpartition(":")[2] in ("str", "seq", "map")
}


def _truth(loader: _Loader, node: yaml.ScalarNode) -> bool:
    if node.value.lower() not in yaml.SafeLoader.bool_values:  # only where it is tagged
        raise _refused(node, f"{node.value[:20]!r} is neither true nor false")
    return yaml.SafeLoader.bool_values[node.value.lower()]


def _tagged(loader: _Loader, node: yaml.Node) -> None:
    raise _refused(node, f"the tag {node.tag} is not supported")


def _float_text(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    special = node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
    if special.lstrip("+-") in ("inf", "nan"):
        return float(special)
    return _number(loader, node)


_Loader.add_constructor(None, _tagged)
_Loader.add_constructor("tag:yaml.org,2002:bool", _truth)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _float_text)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        MamTraError: the file is missing, is not YAML of this kind, or is not a mapping.
    """
    text = read_text(path, f"There is no configuration {path}; name a YAML file.", _LARGEST)
    try:
        content = _load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MamTraError(f"{path} cannot be read as YAML: {_sentence(error)}.") from error
    if not isinstance(content, dict):
        raise MamTraError(f"{path} should hold settings, KEY: VALUE a line.")
    return content


def read_settings(path: Path, changes: Iterable[str] = ()) -> dict[str, Any]:
    """`read_yaml` with ``key=value`` changes, see `change_setting`."""
    content = read_yaml(path)
    for change in changes:
        change_setting(content, change)
    return content


def change_setting(content: dict[str, Any], change: str) -> None:
    """Set one value of nested settings from ``key=value`` with a dotted key and a YAML value.

    Raises:
        MamTraError: it is not of that form, or the key leads through a value.
    """
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise MamTraError(f"{change!r} does not change a setting; write key=value, such as optimizer.lr=2e-5.")
    try:
        value = _load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MamTraError(f"The value of {change[:80]!r} cannot be read as YAML: {_sentence(error)}.") from error
    set_by_key(content, key, value)


def set_by_key(content: dict[str, Any], key: str, value: Any) -> None:
    """Set one value of nested settings by its dotted key.

    Raises:
        MamTraError: the key leads through a value.
    """
    *sections, last = key.split(".")
    section = content
    for name in sections:
        inner = section.setdefault(name, {})
        if not isinstance(inner, dict):
            raise MamTraError(f"There is no setting {key}: {name} holds a value, not a section.")
        section = inner
    section[last] = value


def _load(text: str) -> Any:
    return yaml.load(text, _Loader)


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}" if mark else ""
        return f"{' '.join(str(error.problem or error.context).split())}{place}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return " ".join(str(error).split()).rstrip(".")
