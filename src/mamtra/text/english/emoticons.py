"""Faces and hearts typed as signs: "I <3 you" has a verb, "Thanks <3" and ":D" are silent, and a heart alone is said."""

from __future__ import annotations

from mamtra.text.english.patterns import FigurePattern, Pattern

_SIGN = r"(?:[❤♥♡]\N{VARIATION SELECTOR-16}?|[💓💕💖💗💘💙💚💛💜💞🖤🤍🤎🧡])"
_ANY = rf"(?:<3+(?!\d)|{_SIGN})"
_LOVE = Pattern(rf"\b(I|[Ww]e|[Yy]ou|[Tt]hey|[Hh]e|[Ss]he)\s?{_ANY}\s?(?=[A-Za-z])(?!kg|cm|mm|km|m\b|g\b)")
_ALONE = Pattern(rf"^\s*(?:{_ANY}\s*)+[.!]*\s*$")
_BROKEN_ALONE = Pattern(r"^\s*(?:</3|💔)\s*$")
_AT_THE_END = FigurePattern(
    r"(?<!\bis)(?<!\bare)(?<!\bwas)(?<!\bbe)(?<!\bof)(?<!\bvalues)(?<!\bsizes)(?<!\bscores)(?<!\blevels)(?<!\bages)(?<!\bwith)"
    r"(?:(?<=[A-Za-z]{2})|(?<=[A-Za-z]{2}[.!?,]))\s+(?:</?3+\s*)+(?=$|[\n.!?,)]|[^\x00-\x7f])"
)
_FACE = Pattern(
    r"(?<!\S)(?:[:;=][-'o^]?[DPpOoSsXx3]|xD+|[:;=][-'o^]?[()\[\]/\\|]+|[oO][._][oO]|T[_.]T|\^[_.]?\^|>[_.]<|-_+-)(?=[\s.!?,]|$)"
    r"|[¯‾]\\*_?\(ツ\)_?/[¯‾]"
)


def strip_emoticons(text: str) -> str:
    """The text with hearts as words where they are meant as words, and without other faces and hearts."""
    if _ALONE.match(text):
        return "heart"
    if _BROKEN_ALONE.match(text):
        return "broken heart"
    text = _LOVE.sub(lambda m: f"{m[1]} {'loves' if m[1].lower() in ('he', 'she') else 'love'} ", text)
    return _FACE.sub("", _AT_THE_END.sub(" ", text))
