"""cosyvoice2.yaml or cosyvoice3.yaml read as plain data: tags that would build Python objects are dropped.

Every tag gives the value that follows it. References to other entries and products of them are resolved; nothing else of
HyperPyYAML is supported, and nothing is executed.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import first_problem
from mamtra.runtime.yaml_files import BoundedLoader

LARGEST_BYTES = 2**20
_REFERENCE = re.compile(r"<(\w+)>")
_MISSING = object()
_Sizes = TypeVar("_Sizes", bound=BaseModel)


class _PlainLoader(BoundedLoader):
    """Safe YAML whose tags are dropped."""


def _without_tag(loader: _PlainLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor("!", _without_tag)
_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _without_tag)


class Settings:
    """The entries of a file, found by their path.

    Raises:
        MamTraError: it is missing, is not YAML, or is no mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MamTraError(f"{path} is missing; get the model again or check the path.")
        if path.stat().st_size > LARGEST_BYTES:
            raise MamTraError(f"{path} is too large for a configuration; get the model again.")
        try:
            self._root = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
        except Exception as error:  # PyYAML's constructors raise what they like on odd values
            raise MamTraError(f"{path} is damaged and cannot be read as YAML; get the model again.") from error
        if not isinstance(self._root, dict):
            raise MamTraError(f"{path} should hold settings by name; get the model again.")

    def get(self, place: str, default: Any = _MISSING) -> Any:
        """Entry at a path such as ``flow.encoder.num_blocks``; references in it are resolved.

        Raises:
            MamTraError: there is none and no default, or it refers to what is not there.
        """
        value: Any = self._root
        for key in place.split("."):
            if not isinstance(value, dict) or key not in value:
                if default is not _MISSING:
                    return default
                raise MamTraError(f"{self.path} lacks {place}; get the model again.")
            value = value[key]
        return self._resolve(value, place)

    def require(self, place: str, wanted: Any) -> None:
        """Refuse another value than the only one that is supported; an entry that is left out passes.

        Raises:
            MamTraError: it has another.
        """
        found = self.get(place, wanted)
        if found != wanted:
            raise MamTraError(f"{self.path} has {place} {printable(repr(found))}; only {wanted!r} is supported.")

    def parse(self, kind: type[_Sizes], **values: Any) -> _Sizes:
        """Sizes from values of the file.

        Raises:
            MamTraError: a value is wrong.
        """
        try:
            return kind(**values)
        except ValidationError as error:
            raise MamTraError(f"{self.path} is wrong at {first_problem(error)}.") from error

    def _resolve(self, value: Any, place: str, depth: int = 0) -> Any:
        if not isinstance(value, str) or not _REFERENCE.search(value):
            return value
        names = [_REFERENCE.fullmatch(part.strip()) for part in value.split("*")]
        if depth > 8 or not all(name is not None and name[1] in self._root for name in names):
            raise MamTraError(
                f"{self.path} has {place} {printable(repr(value))}, which cannot be looked up; get the model again."
            )
        values = [self._resolve(self._root[name[1]], place, depth + 1) for name in names if name is not None]
        if len(values) == 1:
            return values[0]
        if not all(isinstance(v, int | float) for v in values):
            raise MamTraError(
                f"{self.path} has {place} {printable(repr(value))}, which is no product of numbers; get the model again."
            )
        return math.prod(values)
