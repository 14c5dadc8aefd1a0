"""Files that ``torch.save`` wrote. Only tensors and plain values are unpickled, never objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mamtra.errors import MamTraError


def load_pickle(path: Path, *, mapped: bool = False) -> dict[Any, Any]:
    """The dictionary in a file.

    Args:
        path: of the file.
        mapped: map tensors into memory instead of reading them.

    Raises:
        MamTraError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise MamTraError(f"{path} is missing; get the model again or check the path.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # what torch's reader raises on a damaged file depends on the damage
        raise MamTraError(
            f"{path} is damaged or holds more than tensors and cannot be read; get the model again."
        ) from error
    if not isinstance(found, dict):
        raise MamTraError(f"{path} should hold tensors by name; get the model again.")
    return found
