"""Layer plans as strips of cells, one a layer: blue is attention, orange is Mamba, as in the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from mamtra.models.plan import LayerPlan

if TYPE_CHECKING:
    from rich.text import Text

ATTENTION, MAMBA = "#4477aa", "#eea044"
_CELL, _GAP, _LABEL, _MARGIN = 22, 3, 7.0, 12  # pixels; _LABEL is the width of a letter


def strip_text(plan: LayerPlan, width: int = 80) -> Text:
    """A strip for the terminal: the number of each layer above its letter, A for attention and M for Mamba.

    Args:
        plan: what to draw.
        width: columns of the terminal; longer strips wrap.
    """
    from rich.text import Text

    cell = len(str(plan.num_layers - 1)) + 1
    row = max(1, width // cell)
    text = Text()
    for start in range(0, plan.num_layers, row):
        layers = range(start, min(start + row, plan.num_layers))
        text.append("".join(f"{i:>{cell}}" for i in layers) + "\n", style="dim")
        for i in layers:
            attention = plan.letters[i] == "A"
            text.append(
                f"{plan.letters[i]:>{cell}}", style=f"bold white on {ATTENTION}" if attention else f"on {MAMBA}"
            )
        text.append("\n")
    return text


def strips_svg(rows: Sequence[tuple[str, LayerPlan]], title: str) -> str:
    """A picture of strips one above the other.

    Args:
        rows: label and plan of each strip.
        title: heading and accessible name.

    Returns:
        An SVG document; equal plans give equal documents.
    """
    left = _MARGIN + (max(len(label) for label, _ in rows) + 2) * _LABEL
    step = _CELL + _GAP
    width = max(left + step * max(plan.num_layers for _, plan in rows), _LABEL * len(title) + _MARGIN) + _MARGIN
    top = _MARGIN + 2 * step
    height = top + len(rows) * (step + _GAP) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f' role="img" aria-label={quoteattr(title)} font-family="sans-serif" font-size="12">',
        f"<defs>{_shape('A', ATTENTION)}{_shape('M', MAMBA)}</defs>",
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 12}" font-weight="bold">{escape(title)}</text>',
    ]
    y = _MARGIN + step
    for x, colour, word in ((_MARGIN, ATTENTION, "attention"), (_MARGIN + 100, MAMBA, "Mamba")):
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{y + 11}">{word}</text>')
    for r, (label, plan) in enumerate(rows):
        y = top + r * (step + _GAP)
        parts.append(f'<text x="{_MARGIN}" y="{y + 15}">{escape(label)}</text>')
        parts.append(f'<g transform="translate({left:g} {y})" font-size="10" text-anchor="middle">')
        for i, letter in enumerate(plan.letters):
            ink = ' fill="white"' if letter == "A" else ""
            parts.append(
                f'<use href="#{letter}" x="{i * step}"/><text x="{i * step + _CELL // 2}" y="15"{ink}>{i}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _shape(letter: str, colour: str) -> str:
    return f'<rect id="{letter}" width="{_CELL}" height="{_CELL}" rx="3" fill="{colour}"/>'
