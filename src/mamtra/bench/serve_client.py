"""One listener of an OpenAI-compatible speech server: what it heard, and when."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mamtra.errors import MamTraError

TIMEOUT = 120.0
"""Seconds without a byte after which an answer counts as failed."""
_FRAME = 2  # bytes of a sample


@dataclass(frozen=True)
class Target:
    """A server, and how it is asked.

    Attributes:
        url: up to and with /v1.
        fields: of every request beside its text.
        key: bearer token; None for none.
        sample_rate: of its raw samples, Hz, where the answer does not tell.
    """

    url: str
    fields: dict[str, Any]
    key: str | None = None
    sample_rate: int = 24000

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MamTraError(f"{self.url} is not an address such as http://127.0.0.1:8000/v1.")


@dataclass(frozen=True)
class Heard:
    """What came of a request.

    Attributes:
        status: of HTTP; 0 where the connection failed or broke off.
        first_audio: seconds to the first sample; None without any.
        seconds: of audio.
        took: seconds to the end of the answer.
        gaps: times that a listener who plays from the first sample on runs out of audio.
        gap_seconds: their duration together.
        error: why it failed; empty where it did not.
    """

    status: int
    first_audio: float | None = None
    seconds: float = 0.0
    took: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether there was audio to the end."""
        return not self.error and self.seconds > 0


def listen(target: Target, text: str, clock: Callable[[], float] = time.monotonic) -> Heard:
    """Ask for a text as raw samples, and note when they come. Never raises for what the server or the network does."""
    parts, began = urlsplit(target.url), clock()
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=TIMEOUT)
    status, arrivals, rate = 0, list[tuple[float, int]](), target.sample_rate
    error = ""
    try:
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {target.key}"} if target.key else {}),
        }
        body = json.dumps({**target.fields, "input": text, "response_format": "pcm"})
        connection.request("POST", f"{parts.path.rstrip('/')}/audio/speech", body, headers)
        answer = connection.getresponse()
        status = answer.status
        if status != 200:
            error = _sentence(answer.read(4096)) or f"status {status}"
        else:
            rate = int(answer.headers.get("X-Sample-Rate", rate))
            while part := answer.read1(65536):
                arrivals.append((clock() - began, len(part)))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        error, status = f"{type(problem).__name__}: {problem}", 0
    finally:
        connection.close()
    first, gaps, gap_seconds, played = _play(arrivals, rate * _FRAME)
    return Heard(status, first, played, clock() - began, gaps, gap_seconds, error)


def _play(arrivals: list[tuple[float, int]], bytes_a_second: int) -> tuple[float | None, int, float, float]:
    """First audio, gaps, their duration and the audio, for one who plays from the first sample on."""
    if not arrivals:
        return None, 0, 0.0, 0.0
    first = ends = arrivals[0][0]
    gaps, gap_seconds = 0, 0.0
    for moment, count in arrivals:
        if moment > ends:
            gaps, gap_seconds, ends = gaps + 1, gap_seconds + moment - ends, moment
        ends += count / bytes_a_second
    return first, gaps, gap_seconds, sum(count for _, count in arrivals) / bytes_a_second


def _sentence(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
