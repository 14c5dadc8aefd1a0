"""Files of many texts to folders of sound files: `mamtra batch`, resumable line by line."""

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.bulk.api import Summary, batch

__all__ = ["Summary", "batch"]

__getattr__ = lazy_names(__name__, {"batch": "mamtra.bulk.api", "Summary": "mamtra.bulk.api"})
