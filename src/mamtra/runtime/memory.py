"""Memory that is free."""

from __future__ import annotations

import re
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory(device: str = "cpu") -> int | None:
    """Bytes that may still be taken; None where this system does not tell.

    Args:
        device: "cuda", with or without a number, for a GPU's memory; anything else for the machine's, within the limit of the
            process's control group.
    """
    if device.startswith("cuda"):
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.M)
    except OSError:
        return None
    return None if found is None else int(min(1024 * int(found[1]), _left_in_group()))


def _left_in_group() -> float:
    try:
        most, used = (int((_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no control groups, or no limit
        return float("inf")
    return max(0, most - used)
