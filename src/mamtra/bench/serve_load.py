"""Ways to load a speech server: listeners who play what they get, clients who ask at once again, or arrivals at a rate."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Literal

from mamtra.bench.serve_client import Heard
from mamtra.evaluate.sentences import read_sentences

Ask = Callable[[str], Heard]
Mode = Literal["listeners", "clients", "rate"]
MOST_OPEN = 512
"""Requests of an open loop that may be on their way at once."""
_START = 1.0
"""Seconds that a process needs to start, and all of them on one core each, so that they begin at once."""
_STRIDE = 7_000_003
SETTLE = 8.0
"""Seconds of an answer, about: listeners who begin within them ask at as even a rate as later on."""
_LENGTHS = ((1, 0.35), (2, 0.4), (4, 0.25))
"""Sentences of a text, and how often: short answers, usual ones, paragraphs."""


def texts(seed: int) -> Iterator[str]:
    """Texts without end, as a voice assistant says them: one, two or four plain sentences."""
    draws, sentences = random.Random(seed), read_sentences()
    while True:
        count = draws.choices([n for n, _ in _LENGTHS], [share for _, share in _LENGTHS])[0]
        yield " ".join(draws.sample(sentences, count))


def run_load(
    ask: Ask, mode: Mode, amount: float, seconds: float, seed: int, processes: int = 1
) -> tuple[list[Heard], float]:
    """A load of one kind.

    Args:
        ask: makes a request.
        mode: kind of the load.
        amount: listeners, clients, or requests a second.
        seconds: of it. Listeners begin within `SETTLE` seconds before, in which what they ask is not counted.
        seed: of texts and moments.
        processes: that share the load, so that many listeners do not wait for each other.

    Returns:
        What was heard, and the seconds until all had ended.
    """
    if processes == 1:
        return _share(ask, mode, amount, seconds, seed, time.time())
    many = [amount / processes] * processes
    if mode != "rate":
        many = [amount // processes + (number < amount % processes) for number in range(processes)]
    begin = time.time() + _START + _START * processes / (os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        shares = [
            pool.submit(_share, ask, mode, each, seconds, seed + _STRIDE * number, begin)
            for number, each in enumerate(many)
            if each
        ]
        found = [share.result() for share in shares]
    return [each for heard, _ in found for each in heard], max(wall for _, wall in found)


def _share(ask: Ask, mode: Mode, amount: float, seconds: float, seed: int, begin: float) -> tuple[list[Heard], float]:
    """The load of a process, from a moment on."""
    time.sleep(max(0.0, begin - time.time()))
    began = time.monotonic()
    if mode == "rate":
        return open_loop(ask, amount, seconds, seed), time.monotonic() - began
    settle = min(SETTLE, seconds) if mode == "listeners" else 0.0
    heard = closed_loop(ask, int(amount), seconds, seed, play=mode == "listeners", settle=settle)
    return heard, time.monotonic() - began - settle


def closed_loop(ask: Ask, many: int, seconds: float, seed: int, *, play: bool, settle: float = 0.0) -> list[Heard]:
    """Each of so many clients asks again when its answer is complete.

    Args:
        ask: makes a request.
        many: clients.
        seconds: no request begins later.
        seed: of texts and moments.
        play: a client is a listener: it asks again once it has played what it got.
        settle: seconds before those, in which the clients begin one after another; what is asked then is not counted.
    """
    heard: list[Heard] = []
    lock, counted = threading.Lock(), time.monotonic() + settle
    end = counted + seconds

    def client(number: int) -> None:
        said = texts(seed * 1000 + number)
        time.sleep(random.Random(seed * 1000 + number).uniform(0, settle))
        while (asked := time.monotonic()) < end:
            found = ask(next(said))
            if asked >= counted:
                with lock:
                    heard.append(found)
            if not found.good:
                time.sleep(0.2)  # a server that refuses is not asked without a pause
            elif play:
                played = (found.first_audio or 0) + found.seconds + found.gap_seconds
                time.sleep(max(0.0, min(played - found.took, end - time.monotonic())))

    with ThreadPoolExecutor(many) as threads:
        for each in [threads.submit(client, number) for number in range(many)]:
            each.result()
    return heard


def open_loop(ask: Ask, rate: float, seconds: float, seed: int) -> list[Heard]:
    """Requests arrive at random moments, so many a second on average, whether earlier ones are answered or not."""
    draws, said = random.Random(seed), texts(seed)
    with ThreadPoolExecutor(MOST_OPEN) as threads:
        waiting, moment, began = [], 0.0, time.monotonic()
        while (moment := moment + draws.expovariate(rate)) < seconds:
            time.sleep(max(0, began + moment - time.monotonic()))
            waiting.append(threads.submit(ask, next(said)))
        return [each.result() for each in waiting]
