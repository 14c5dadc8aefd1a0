"""HTML pages, as Jinja2 templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.runtime.optional import need


def render(template: Path, **values: Any) -> str:
    """Fill a template; values are escaped.

    Raises:
        MamTraError: Jinja2 is missing.
    """
    jinja2 = need("jinja2", "An HTML page")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, keep_trailing_newline=True
    )
    return environment.get_template(template.name).render(values)
