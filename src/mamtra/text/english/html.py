"""HTML in a text: known tags are silent structure, entities become characters, all other angle brackets are read.

``<b>Hi</b> &amp; bye`` -> ``Hi & bye``, but ``<ann@example.com>``, ``<Ctrl>`` and ``List<String>`` keep their words.
"""

from __future__ import annotations

import html
import re
from collections.abc import Set

from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

_BLOCKS = listed(
    "address article aside blockquote body br center dd details dialog div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol option p pre section select summary table tbody td "
    "tfoot th thead title tr ul"
)
_INLINE = listed(
    "a abbr acronym audio b bdi bdo big button canvas caption cite code col colgroup data datalist del dfn em embed "
    "font i iframe img input ins kbd label link map mark meta meter object output param picture progress q rp rt ruby s "
    "samp small source span strike strong sub sup svg template textarea time track tt u var video wbr"
)
_PLACEHOLDERS = frozenset(
    listed(
        "address audio button caption code data date details form footer header label link main map mark menu meter object output "
        "param picture progress sample section select small source strong summary table template time title track video"
    )
)
"""Elements that a text names without closing them where something is to be filled in: "your code is <CODE>"."""
_ATTRIBUTE = (
    r"\s+(?:[A-Za-z_:@][\w:.@-]*\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+)"
    r"|checked|disabled|hidden|required|selected|readonly|open|controls|autoplay|loop|muted|async|defer)"
)
_SILENT = Pattern(r"<!--.{0,20000}?-->|<(script|style)\b[^<>]*>.{0,100000}?</\1\s*>|<!DOCTYPE[^<>]*>", re.I | re.S)
_TAG = Pattern(rf"<(/?)({'|'.join(_BLOCKS + _INLINE)})((?:{_ATTRIBUTE})*)\s*/?>", re.IGNORECASE)
_CLOSING = Pattern(r"</([A-Za-z]\w*)")
_RAISED = Pattern(r"<sup>\s*([-−+]?\w{1,4})\s*</sup>", re.IGNORECASE)
_ALTERNATIVE = Pattern(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_ENTITY = Pattern(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_NUMBER_OR_LETTER = r"(?:[A-Za-z]|\d[\d.,]*)"
_COMPARED = Pattern(rf"(?<![\w.])({_NUMBER_OR_LETTER})\s*<\s*({_NUMBER_OR_LETTER})(?=[\s,.;:?!)]|$)")
_CHAIN = FigurePattern(r"(?<![\w.])(\d[\d.,]*)\s*<\s*(?=\d[\d.,]*\s*[<>])")
_GENERIC = Pattern(r"\b([A-Z]\w*|list|dict|set|map|vector|array|tuple|optional)<(?=[A-Za-z][\w<>, ?.\[\]]{0,80}>)")
_GROUP = Pattern(r"<(?=\S)([^<>\n]{1,200})(?<=[^\s=-])>")
_CLOSED = Pattern(r"(?<=\w)>+(?=[\s,.;:?!)(]|$)")


def _tag(match: re.Match[str], closed: Set[str]) -> str:
    closing, name, attributes = match[1], match[2].lower(), match[3]
    if name in _PLACEHOLDERS and name not in closed and not attributes:
        return match[2]
    if _is_named(match, closed) and name not in ("br", "img", "wbr", "input"):
        return match[2]
    if name == "img":
        alternative = _ALTERNATIVE.search(attributes)
        return " " + (alternative[1] or alternative[2] or "") + " " if alternative else " "
    if name in ("td", "th"):
        return ", " if closing else " "
    if name == "q":
        return '"'
    if name in _BLOCKS:
        return "\n\n" if name in ("p", "hr", "table", "ul", "ol") or re.fullmatch(r"h\d", name) else "\n"
    return ""


def _is_named(match: re.Match[str], closed: Set[str]) -> bool:
    """Whether a tag is spoken about: "use <b> for bold" closes nothing."""
    inline = not match[1] and not match[3] and match[2].lower() in _INLINE and match[2].lower() not in closed
    around = match.string[max(0, match.start() - 1) : match.start()], match.string[match.end() : match.end() + 1]
    return inline and around[0] == " " and around[1] in (" ", ".", ",", "?")


def strip_html(text: str) -> str:
    """Text with tags and entities resolved; a block tag is a line break.

    Angle brackets that are no tags go, and their content stays: addresses, keys, placeholders and generic types.
    """
    if "<" in text:
        text = _SILENT.sub(" ", text)
        text = _RAISED.sub(r"^\1", text)
        closed = {name.lower() for name in _CLOSING.findall(text)}
        text = _TAG.sub(lambda match: _tag(match, closed), text)
    if "&" in text:
        for _ in range(2):  # feeds escape what is escaped already: &amp;quot;
            text = _ENTITY.sub(lambda match: html.unescape(match[0]).replace("\xa0", " "), text)
    if "<" in text:
        text = _COMPARED.sub(r"\1 less than \2", _CHAIN.sub(r"\1 less than ", text))
        text, generics = _GENERIC.subn(r"\1 of ", text)
        text = _GROUP.sub(r"\1", text)
        if generics:
            text = _CLOSED.sub("", text)
    return text
