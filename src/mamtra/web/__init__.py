"""A page that speaks in the browser: `write_site` writes it, the modules of `page` are what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.web.site import write_site

__all__ = ["write_site"]

__getattr__ = lazy_names(__name__, {"write_site": "mamtra.web.site"})
