"""Taking hold of a Ray cluster, with one sentence where none answers."""

from __future__ import annotations

from typing import Any

from mamtra.errors import MamTraError

HERE = "local"
"""Address for Ray processes on this machine alone."""


def join_cluster(ray: Any, address: str) -> bool:
    """Take hold of a cluster, unless this process has hold of one already.

    Args:
        ray: the module.
        address: ``local``, ``auto`` for the cluster that this machine is part of, or ``HOST:PORT``.

    Returns:
        Whether it took hold, and has to let go.

    Raises:
        MamTraError: nothing answers at the address.
    """
    if ray.is_initialized():
        return False
    here = {"include_dashboard": False} if address == HERE else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise MamTraError(
            f"No Ray cluster answers at {address}; start one with `ray start`, or use --ray {HERE}."
        ) from error
    return True
