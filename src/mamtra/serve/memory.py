"""How much memory a text takes while it is spoken: known before it begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.serve.live import TextFeed
from mamtra.serve.speaking import MOST_AHEAD

if TYPE_CHECKING:
    from mamtra.serve.admission import Admission
    from mamtra.tts import TTS

FRACTION = 0.8
"""Of the memory that is free once the model is warm; the rest is for what a step computes in between."""


async def bytes_needed(tts: TTS, admission: Admission, text: str | TextFeed) -> int:
    """Bytes that a text takes at most.

    Where so many of the longest sentences fit as texts may be spoken at once, the text is not read for it.

    Args:
        tts: the model.
        admission: that knows the limits.
        text: whole, or still arriving.
    """
    longest = tts.stream_bytes() + MOST_AHEAD
    enough = admission.budget is None or admission.streams * longest <= admission.budget
    if enough or isinstance(text, TextFeed):
        return longest
    return await asyncio.to_thread(_of_text, tts, text) + MOST_AHEAD


def _of_text(tts: TTS, text: str) -> int:
    try:
        return tts.stream_bytes(max(len(segment.ids) for segment in tts.model.text.segments(text)))
    except MamTraError:
        return 0  # it cannot be spoken, which its speaker will say
