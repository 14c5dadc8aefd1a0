"""How many replicas Ray Serve runs: as many as the texts need, or the bytes that these take, whichever is more.

Ray Serve takes this module to its controller by value, so it imports nothing of the package.
"""

from __future__ import annotations

import math
from typing import Any

POLICY = f"{__name__}:wanted_replicas"
"""For the `policy_function` of a deployment."""


def wanted_replicas(context: Any) -> tuple[int, dict[str, Any]]:
    """A policy of Ray Serve, which adds limits and delays.

    Args:
        context: `ray.serve.config.AutoscalingContext` with what `mamtra.serve.admission.Admission.load` says of every replica.

    Returns:
        number of replicas; state of the policy, none.
    """
    told = context.aggregated_metrics or {}
    if not told.get("texts"):
        return context.target_num_replicas, {}
    outside = context.total_queued_requests / context.config.target_ongoing_requests
    texts, size = sum(told["texts"].values()) + outside, sum(told.get("bytes", {}).values())
    return max(1, math.ceil(max(texts, size) - 1e-6)), {}
