"""Documents as people hand them over -> plain text: HTML, Markdown and LaTeX made silent, line breaks made phrases."""

from __future__ import annotations

from collections.abc import Callable

from mamtra.text.english.html import strip_html
from mamtra.text.english.latex import strip_latex
from mamtra.text.english.lines import join_lines
from mamtra.text.english.markdown import strip_markdown


def plain_text(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Text without markup, in paragraphs separated by blank lines; a heading or an item of a list ends with a stop.

    Args:
        text: text as written.
        known: tells whether a lower-case word exists.
    """
    return join_lines(strip_markdown(strip_latex(strip_html(text))), known)
