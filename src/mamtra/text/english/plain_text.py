"""Documents as people hand them over -> plain text: HTML, Markdown and LaTeX made silent, line breaks made phrases."""

from __future__ import annotations

from collections.abc import Callable

from mamtra.text.english.emoticons import strip_emoticons
from mamtra.text.english.html import strip_html
from mamtra.text.english.latex import strip_latex
from mamtra.text.english.lines import join_lines
from mamtra.text.english.markdown import strip_markdown
from mamtra.text.english.patterns import Pattern

_ESCAPES = Pattern(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # strings, such as titles and links
    r"|\x1b[ -/]*[0-~]"
)


def plain_text(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Text without markup, in paragraphs separated by blank lines; a heading or an item of a list ends with a stop.

    Args:
        text: text as written.
        known: tells whether a lower-case word exists.
    """
    return join_lines(strip_markdown(strip_latex(strip_html(strip_emoticons(strip_escapes(text))))), known)


def strip_escapes(text: str) -> str:
    """The text without the escape sequences of terminals (ECMA-48): colours, cursor movements, titles, links."""
    return _ESCAPES.sub("", text) if "\x1b" in text or "\x9b" in text or "\x9d" in text else text
