"""Work on many lines by several processes of one thread each, so that a judge in this process waits for none of them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Item = TypeVar("Item")
_make: Callable[[Any], Any]


def made(
    prepare: Callable[..., Callable[[Item], Any]],
    given: tuple[Any, ...],
    items: Sequence[Item],
    workers: int = 0,
    minutes: float = 600,
) -> Iterator[tuple[Item, Any]]:
    """Items with what is made of them: in their order, or, where there are workers, as they are finished.

    Args:
        prepare: called once in each process, with `given`; what it returns makes something of an item. A class of a module, so that
            processes find it by its name.
        given: its arguments.
        items: to be worked on, the longest first where workers are to end together.
        workers: processes; with 0, this process does the work.
        minutes: no item is begun, and none waited for, after so many.
    """
    end = time.monotonic() + 60 * minutes
    if not workers:
        make = prepare(*given) if items else None
        for item in items:
            if time.monotonic() > end:
                return
            yield item, make(item)
        return
    others = {*multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, max(1, len(items))), context, _begin, (prepare, given))
    try:
        asked = {pool.submit(_work, item): item for item in items}
        for done in as_completed(asked, timeout=max(0.0, end - time.monotonic())):
            yield asked[done], done.result()
    except TimeoutError:
        for worker in {*multiprocessing.active_children()} - others:
            worker.terminate()  # this process would wait for what they are making when it ends
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin(prepare: Callable[..., Callable[[Any], Any]], given: tuple[Any, ...]) -> None:
    import torch

    global _make
    torch.set_num_threads(1)
    _make = prepare(*given)


def _work(item: Any) -> Any:
    return _make(item)
