"""What all figures have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.runtime.files import atomic_file
from mamtra.runtime.optional import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = {"svg.hashsalt": "mamtra", "svg.fonttype": "none"}
"""Settings of matplotlib: equal data give equal files, and text stays text, which is far smaller than outlines."""


def need_matplotlib() -> None:
    """Refuse a figure before any work is done.

    Raises:
        MamTraError: matplotlib is missing.
    """
    need("matplotlib", "A plot")


@contextmanager
def canvas(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure, written at the end. Equal drawings give equal files.

    Args:
        path: of a .svg or .png file.
        size: width and height in inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        kind = path.suffix[1:].lower()
        with atomic_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
