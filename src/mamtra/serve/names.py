"""Names that clients know: OpenAI's voices stand for voices that are here, and nothing else is ever looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.serve.errors import ApiError

OPENAI_VOICES = {
    "alloy": "nora",
    "ash": "miles",
    "ballad": "simon",
    "cedar": "felix",
    "coral": "clara",
    "echo": "oscar",
    "fable": "henry",
    "marin": "julia",
    "nova": "tessa",
    "onyx": "owen",
    "sage": "emily",
    "shimmer": "isla",
    "verse": "miles",
}
"""OpenAI's voices, and which of the embedded model's stand for them."""
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")


class VoiceNames:
    """Voices by name and alias.

    Args:
        have: names of the voices that are here.
        aliases: further names of them, above `OPENAI_VOICES`.

    Raises:
        MamTraError: an alias stands for a voice that is not here.
    """

    def __init__(self, have: Iterable[str], aliases: Mapping[str, str]) -> None:
        names = sorted(have)
        for alias, name in aliases.items():
            if name not in names:
                raise MamTraError(
                    f"The alias {alias}={name} names no voice; voices here: {', '.join(names) or 'none'}."
                )
        # a model with other voices lends them in turn
        spread = {alias: names[i % len(names)] for i, alias in enumerate(OPENAI_VOICES)} if names else {}
        known = {alias: name for alias, name in OPENAI_VOICES.items() if name in names}
        self.aliases = {**spread, **known, **aliases}

    def find(self, name: str | None, have: Iterable[str], *, status: int = 400) -> str | None:
        """The name of a voice that is here; None for the model's own.

        Args:
            name: that a client gave; a voice's own name comes before an alias.
            have: names of the voices that are here now.
            status: of the error; 404 where the name is part of an address.

        Raises:
            ApiError: there is no such voice.
        """
        names = set(have)
        if name is None or name in names:
            return name
        found = self.aliases.get(name)
        if found in names:
            return found
        message = f"There is no voice {printable(name)!r}; use one of {', '.join(sorted(names)) or 'none'}."
        raise ApiError(status, message, param="voice", code="voice_not_found")
