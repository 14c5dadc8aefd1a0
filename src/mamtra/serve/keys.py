"""API keys: read from a file, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mamtra.errors import MamTraError

SHORTEST = 16
KEY_VARIABLE = "MAMTRA_API_KEY"


class Key(NamedTuple):
    """Who may use the server.

    Attributes:
        name: for logs; the key itself is never shown.
        digest: SHA-256 of the key.
        streams: texts that may be spoken for it at once; None for as many as the server speaks.
    """

    name: str
    digest: bytes
    streams: int | None = None


def make_key(secret: str, name: str = "key", streams: int | None = None) -> Key:
    """A key from its secret.

    Raises:
        MamTraError: the secret is too short, or holds characters that no header carries.
    """
    if len(secret) < SHORTEST or not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise MamTraError(f"The API key {name!r} needs {SHORTEST} or more ASCII characters without spaces.")
    return Key(name, _digest(secret), streams)


def parse_keys(text: str, place: str) -> tuple[Key, ...]:
    """Keys from a file: a line each with NAME, KEY and perhaps how many streams it may have at once; # begins a comment.

    Raises:
        MamTraError: a line has another form, or a name comes twice.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        count = words[2] if len(words) == 3 else "1"
        if len(words) not in (2, 3) or not count.isdecimal() or int(count) < 1 or words[0] in keys:
            raise MamTraError(f"Line {number} of {place} is not NAME KEY [STREAMS] with a name of its own.")
        keys[words[0]] = make_key(words[1], words[0], int(count) if len(words) == 3 else None)
    if not keys:
        raise MamTraError(f"{place} holds no keys; write NAME KEY in a line.")
    return tuple(keys.values())


def environment_keys() -> tuple[Key, ...]:
    """The key in the variable of the environment; none where it is not set.

    Raises:
        MamTraError: see `make_key`.
    """
    secret = os.environ.get(KEY_VARIABLE)
    return (make_key(secret, KEY_VARIABLE),) if secret else ()


def find_key(keys: Iterable[Key], headers: Mapping[str, str]) -> Key | None:
    """The key that a request carries, as a bearer token or in `xi-api-key`; None where it carries none that is known.

    All keys are compared, each in constant time, so that the time tells nothing.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = _digest(token.strip() if scheme.lower() == "bearer" else headers.get("xi-api-key", ""))
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, given):
            found = key
    return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
