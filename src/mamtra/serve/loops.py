"""Calls into an event loop from other threads, which may outlive it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress


def call_in(loop: AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Call a function in an event loop soon; where the loop has ended with the server, nobody waits for it."""
    with suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(function, *arguments)
