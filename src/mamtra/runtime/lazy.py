"""Names that a package imports when they are first used, so that importing the package itself costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from mamtra.runtime.optional import torch_is_missing


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for the `__init__` of a package.

    Args:
        package: name of the package.
        homes: module of every public name; none of the names may be that of a module of the package, which would hide it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if (problem := torch_is_missing(error)) is not None:
                raise problem from error
            raise

    return load
