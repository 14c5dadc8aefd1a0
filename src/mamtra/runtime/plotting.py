"""What all figures have in common."""

from __future__ import annotations

from mamtra.runtime.optional import need

STYLE = {"svg.hashsalt": "mamtra", "svg.fonttype": "none"}
"""Settings of matplotlib: equal data give equal files, and text stays text, which is far smaller than outlines."""


def need_matplotlib() -> None:
    """Refuse a figure before any work is done.

    Raises:
        MamTraError: matplotlib is missing.
    """
    need("matplotlib", "A plot")
