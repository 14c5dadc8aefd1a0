"""How much memory texts take while they are spoken: known before they begin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.runtime.memory import address_space
from mamtra.serve.live import TextFeed
from mamtra.serve.speaking import MOST_AHEAD

if TYPE_CHECKING:
    from mamtra.serve.admission import Admission
    from mamtra.tts import TTS

WARM_ADDRESSES, TEXT_ADDRESSES = 800 * 10**6, 144 * 2**20
"""Bytes of addresses, little of which is ever used: of the model once it has spoken, and of the two threads of a text (their stacks
and what the C library sets aside for them). Where a thread finds none, the C library ends the process."""
FRACTION = 0.8
"""Of the memory that is free once the model is warm; the rest is for what a step computes in between."""


def check_addresses(texts: int) -> None:
    """Refuse to serve within a limit of addresses (``ulimit -v``) that is too low for the threads.

    Args:
        texts: spoken side by side.

    Raises:
        MamTraError: it is.
    """
    if (known := address_space()) is None:
        return
    taken, most = known
    need = taken + WARM_ADDRESSES + texts * TEXT_ADDRESSES
    if need > most:
        fewer = int((most - taken - WARM_ADDRESSES) // TEXT_ADDRESSES)
        advice = f"serve with --streams {fewer}, or allow more" if fewer > 0 else "allow more"
        raise MamTraError(
            f"The server needs about {need // 10**6:,} MB of addresses for --streams {texts}, and this process can have "
            f"{most // 10**6:,} MB (ulimit -v); {advice}."
        )


async def bytes_needed(tts: TTS, admission: Admission, text: str | TextFeed, flow_steps: int | None = None) -> int:
    """Bytes that a text takes at most.

    Where so many of the longest sentences fit as texts may be spoken at once, the text is not read for it.

    Args:
        tts: the model.
        admission: that knows the limits.
        text: whole, or still arriving.
        flow_steps: as in `TTS.say`.
    """
    longest = await asyncio.to_thread(tts.stream_bytes, None, flow_steps) if flow_steps else tts.stream_bytes()
    longest += MOST_AHEAD
    enough = admission.budget is None or admission.streams * longest <= admission.budget
    if enough or isinstance(text, TextFeed):
        return longest
    return await asyncio.to_thread(_of_text, tts, text, flow_steps) + MOST_AHEAD


def _of_text(tts: TTS, text: str, flow_steps: int | None) -> int:
    try:
        return tts.stream_bytes(max(len(segment.ids) for segment in tts.model.text.segments(text)), flow_steps)
    except MamTraError:
        return 0  # it cannot be spoken, which its speaker will say
