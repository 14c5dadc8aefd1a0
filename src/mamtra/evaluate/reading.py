"""Scores from a file, whoever wrote it: this package or VERSA."""

from __future__ import annotations

import os
from pathlib import Path

from mamtra.evaluate.score_file import ScoreFile, read_lines, read_scores
from mamtra.evaluate.versa import from_versa
from mamtra.runtime.arguments import checked


@checked
def load_scores(path: str | os.PathLike) -> ScoreFile:
    """Read a score file of `mamtra evaluate`, or VERSA's score lines.

    Raises:
        MamTraError: there is no such file, or a line of it is something else.
    """
    path = Path(path)
    lines = read_lines(path)
    return (
        from_versa(path, lines) if '"key"' in lines[0] and '"fingerprint"' not in lines[0] else read_scores(path, lines)
    )
