"""ElevenLabs' ways to name a format, and to tell when characters are heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mamtra.serve.errors import ApiError
from mamtra.synthesis.word_times import Word


def parse_format(name: str) -> tuple[str, int]:
    """Format and sample rate of a name such as "mp3_22050_32" or "pcm_16000"; the bit rate is the encoder's own.

    Raises:
        ApiError: it has another form.
    """
    fmt, _, rest = name.partition("_")
    rate = rest.partition("_")[0]
    if fmt not in ("mp3", "pcm", "opus", "wav", "flac", "aac") or not rate.isdecimal() or len(rate) > 6:
        message = (
            f"output_format {name[:40]!r} is not served; use one such as mp3_22050_32, pcm_24000 or opus_48000_64."
        )
        raise ApiError(400, message, param="output_format", code="unsupported_format")
    return fmt, int(rate)


def _characters(words: Sequence[Word]) -> list[tuple[str, float, float]]:
    """Each character with its start and its end: the time of a word is divided evenly."""
    found = []
    for word in words:
        step = (word.end - word.start) / len(word.text)
        found += [(c, word.start + i * step, word.start + (i + 1) * step) for i, c in enumerate(word.text)]
    return found


class Alignment:
    """Times as a connection wants them: since the context began, or since the last message's end.

    Args:
        absolute: the former (`sync_alignment=true`).
    """

    def __init__(self, absolute: bool) -> None:
        self._absolute, self._told = absolute, 0.0

    def of(self, words: Sequence[Word]) -> dict[str, list[Any]] | None:
        """What a message carries; None without words."""
        if not words:
            return None
        base, self._told = 0.0 if self._absolute else self._told, words[-1].end
        starts, ends, chars = [], [], []
        for char, start, end in _characters(words):
            chars.append(char)
            starts.append(round(1000 * (start - base)))
            ends.append(round(1000 * (end - base)))
        durations = [end - start for start, end in zip(starts, ends, strict=True)]
        return {"chars": chars, "charStartTimesMs": starts, "charDurationsMs": durations}


def http_alignment(words: Sequence[Word]) -> dict[str, list[Any]]:
    """What an answer over HTTP carries."""
    found = _characters(words)
    return {
        "characters": [char for char, _, _ in found],
        "character_start_times_seconds": [round(start, 3) for _, start, _ in found],
        "character_end_times_seconds": [round(end, 3) for _, _, end in found],
    }
