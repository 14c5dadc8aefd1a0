from __future__ import annotations

import multiprocessing
import time

import pytest
from worker_pool import made


class Power:
    def __init__(self, exponent: int) -> None:
        self.exponent = exponent

    def __call__(self, item: int) -> int:
        if item < 0:
            raise ValueError("negative")
        return item**self.exponent


@pytest.mark.parametrize("workers", [0, 2])
def test_every_item_comes_with_what_is_made_of_it(workers):
    assert dict(made(Power, (2,), range(5), workers)) == {item: item**2 for item in range(5)}
    assert list(made(Power, (2,), [], workers)) == [] == list(made(Power, (2,), [3], workers, minutes=-1))


class Sleep:
    def __call__(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds


def test_workers_do_not_outlive_the_time():
    others = {*multiprocessing.active_children()}
    assert list(made(Sleep, (), [600.0, 600.0], 2, minutes=0.01)) == []
    end = time.monotonic() + 60
    while {*multiprocessing.active_children()} - others and time.monotonic() < end:
        time.sleep(0.05)  # a thread of the pool waits for them too, so join() may return before their end is known
    assert not {*multiprocessing.active_children()} - others


def test_an_error_of_a_worker_comes_out():
    with pytest.raises(ValueError, match="negative"):
        list(made(Power, (2,), [1, -1], 2))
