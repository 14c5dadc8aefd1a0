"""Which windows a streaming flow can have (`mamtra.acoustic.history`); needs no torch."""

from __future__ import annotations

from mamtra.errors import MamTraError


def check_history(frames: int, chunk: int, ratio: int) -> None:
    """Refuse a window that is no window.

    Args:
        frames: mel frames of it, 0 for all.
        chunk: tokens of a chunk.
        ratio: mel frames of a token.

    Raises:
        MamTraError: it is negative, smaller than a chunk, or does not end with a token.
    """
    if frames < 0 or 0 < frames < chunk * ratio or frames % ratio:
        raise MamTraError(
            f"The flow cannot keep a history of {frames} frames; use 0 for all, or a multiple of {ratio} from {chunk * ratio} "
            "(a chunk) on, such as 200."
        )
