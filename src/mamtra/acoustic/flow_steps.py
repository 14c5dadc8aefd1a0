"""How many steps a flow can take from noise to mel: any by the Euler method, or those that a few-step flow was trained for."""

from __future__ import annotations

from collections.abc import Sequence

from mamtra.errors import MamTraError

MOST_STEPS = 1000


def check_steps(steps: int, trained: Sequence[int] = ()) -> None:
    """Refuse a number of steps that a flow cannot take.

    Args:
        steps: wanted.
        trained: those that a few-step flow was trained for; empty for any other flow.

    Raises:
        MamTraError: it is out of range, or the flow was trained for others.
    """
    if trained and steps not in trained:
        known = " or ".join(map(str, trained))
        raise MamTraError(f"The flow was trained for {known} steps and cannot take {steps}; use {known}.")
    if not 1 <= steps <= MOST_STEPS:
        raise MamTraError(f"The flow cannot take {steps} steps; use 1 to {MOST_STEPS}, such as 5.")
