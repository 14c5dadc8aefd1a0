"""Damages files in the ways that turned out to matter."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "", "x", "NaN", "\ud800", "[/red]\x1b[31m", "y" * 3000,
    [], [1], {}, {"k": [1]},
)  # fmt: skip


def damaged_json(content: Any, random: Random, count: int) -> Iterator[bytes]:
    """JSON with a value replaced or a key left out, added or renamed; every fifth with bytes changed."""
    for number in range(count):
        if number % 5 == 4:
            yield _bytes(json.dumps(content).encode(), random)
            continue
        changed = copy.deepcopy(content)
        places = [*_places(changed)]
        if not places:
            yield json.dumps(random.choice(ODD)).encode()
            continue
        container, key = random.choice(places)
        deed = random.randrange(4)
        if deed == 0:
            del container[key]
        elif deed == 1 and isinstance(container, dict):
            container[random.choice(("new", "x" * 500, "\x1b[2J"))] = container.pop(key)
        elif deed == 2 and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[key] = random.choice(ODD)
        text = json.dumps(changed)
        yield (text if number % 50 else "[" * 3000 + text).encode()


def damaged(text: str, random: Random, count: int) -> Iterator[bytes]:
    """JSON lines with one line damaged, left out or doubled."""
    lines = text.splitlines(keepends=True)
    for _ in range(count):
        changed = [line.encode() for line in lines]
        at = random.randrange(len(changed))
        deed = random.randrange(8)
        if deed == 0:
            changed[at] = b""
        elif deed == 1:
            changed.insert(at, changed[at])
        else:
            (changed[at],) = damaged_json(json.loads(lines[at]), random, 1)
            changed[at] += b"\n"
        yield b"".join(changed)


def damaged_bytes(data: bytes, random: Random, count: int) -> Iterator[bytes]:
    """Any file with bytes changed, cut off, left out, put in or doubled; every other time near its start, where headers are."""
    for number in range(count):
        at = random.randrange((len(data) if number % 2 else min(len(data), 2000)) + 1)
        length = random.choice((1, 1, 2, 4, 16, 200))
        noise = bytes(random.randrange(256) for _ in range(length))
        yield random.choice((
            data[:at] + noise + data[at + length :], data[:at] + noise + data[at:], data[:at] + data[at + length :],
            data[:at], data[:at] + data[max(0, at - length) :], data[:at] + b"\xff" * length + data[at + length :],
        ))  # fmt: skip


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    items = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
    for key, value in items:
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _bytes(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + random.randrange(3) :]
