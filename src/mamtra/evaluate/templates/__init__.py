"""HTML pages, as Jinja2 templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.runtime.optional import need


def render(name: str, **values: Any) -> str:
    """Fill a template of this folder; values are escaped.

    Raises:
        MamTraError: Jinja2 is missing.
    """
    jinja2 = need("jinja2", "An HTML page")
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return (
        jinja2.Environment(loader=loader, autoescape=True, keep_trailing_newline=True).get_template(name).render(values)
    )
