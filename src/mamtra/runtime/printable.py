"""Text from files as messages and tables may show it."""

QUOTED = 80
"""Characters of foreign text that a message quotes."""


def printable(text: str, limit: int = QUOTED) -> str:
    """The text cut to a length, without control characters, terminal escapes and lone surrogates."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return shown + "..." * (len(text) > limit)
