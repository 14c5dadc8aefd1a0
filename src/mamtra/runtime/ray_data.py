"""Work on several machines by Ray Data, with one sentence where Ray is missing, does not answer or fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.ray_cluster import HERE, join_cluster


class RayData:
    """A pool of Ray actors; `close` ends a Ray that was started here.

    Args:
        purpose: what needs Ray, to begin a sentence.
        address: ``local``, ``auto`` for the cluster that this machine is part of, or ``HOST:PORT``.
        workers: largest number of actors; as many as the cluster has room for by default.
        gpu: each actor has a GPU to itself.

    Raises:
        MamTraError: Ray is not installed, or nothing answers at the address.
    """

    def __init__(self, purpose: str, address: str = HERE, workers: int | None = None, *, gpu: bool = False) -> None:
        try:
            import ray.data
        except ImportError as error:
            raise MamTraError(f"{purpose} needs Ray; run `pip install 'mamtra[ray]'`.") from error
        self._ray, self._workers, self._gpu = ray, workers, gpu
        self._started = join_cluster(ray, address)

    def close(self) -> None:
        """Let go of the cluster, where this object took hold of it."""
        if self._started:
            self._ray.shutdown()

    def map(self, rows: Sequence[Mapping[str, Any]], actor: type, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What the actors make of the rows, in the order in which it is finished.

        Args:
            rows: one a task.
            actor: a class, called with columns of one row and returning columns of any number of rows.
            given: arguments of its constructor.

        Raises:
            MamTraError: an actor or the cluster fails.
        """
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = sys.stderr.isatty()
        pool = {"min_size": 1} if self._workers is None else {"min_size": 1, "max_size": self._workers}
        made = data.from_items(list(rows), override_num_blocks=len(rows)).map_batches(
            actor, fn_constructor_kwargs=dict(given), batch_size=1, compute=data.ActorPoolStrategy(**pool),
            num_cpus=1, num_gpus=int(self._gpu),
        )  # fmt: skip
        try:
            yield from made.iter_rows()
        except self._ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            cause = (lines[-1] if lines else type(error).__name__).rstrip(".")
            raise MamTraError(f"Ray could not finish: {cause}; what is finished stays.") from error
