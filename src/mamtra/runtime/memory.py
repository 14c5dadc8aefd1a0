"""Memory that is free, and by how much it did not suffice."""

from __future__ import annotations

import re
import sys
from math import ceil
from pathlib import Path
from typing import NamedTuple

_MACHINE = Path("/proc/meminfo")
_PROCESS = Path("/proc/self")
_GROUP = Path("/sys/fs/cgroup")
_ADDRESSES = " (ulimit -v)"


class _Limit(NamedTuple):
    free: int
    taken: int
    name: str


def free_memory(device: str = "cpu") -> int | None:
    """Bytes that may still be taken; None where this system does not tell.

    Args:
        device: "cuda", with or without a number, for a GPU's memory; anything else for the machine's, within the limits of the
            process and of its control group.
    """
    if device.startswith("cuda"):
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min((limit.free for limit in _limits()), default=None)


def address_space() -> tuple[int, int] | None:
    """Bytes of addresses that this process has taken, and the most that it may take; None where there is no limit."""
    limits = [limit for limit in _limits() if limit.name == _ADDRESSES]
    return (limits[0].taken, limits[0].taken + limits[0].free) if limits else None


def describe_lack(asked: int | None = None) -> str | None:
    """How much memory this process needs, and how much it can have; None where nothing is known.

    Args:
        asked: bytes that could not be had; None if unknown.
    """
    if not (limits := _limits()):
        return asked and f"{_megabytes(asked)} more could not be had"
    limit = min(limits)
    there = f"{(limit.taken + limit.free) // 10**6:,} MB"
    if asked is None or asked <= limit.free:  # unknown, or some was given back since
        return f"more is needed than the {there} that this process can have{limit.name}"
    return f"{_megabytes(limit.taken + asked)} are needed, and this process can have {there}{limit.name}"


def describe_gpu_lack(message: str) -> str | None:
    """The same of a GPU, for the message of its error."""
    found = (
        re.search(r"allocate ([\d.]+) ([KMG])iB", message),
        re.search(r"of which ([\d.]+) ([KMG])iB is free", message),
    )
    asked, free = (amount and round(float(amount[1]) * 1024 ** (1 + "KMG".index(amount[2]))) for amount in found)
    if free is None and "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        free = free_memory("cuda")
    if free is None:
        return asked and f"{_megabytes(asked)} more could not be had"
    there = f"{free // 10**6:,} MB"
    return (
        f"{_megabytes(asked)} more are needed, and {there} are free"
        if asked
        else f"more is needed than the {there} that are free"
    )


def _megabytes(size: int) -> str:
    return f"{ceil(size / 1e6):,} MB"


def _limits() -> list[_Limit]:
    """Of the machine, of the control group, and of the process itself."""
    try:
        resident, mapped = (_number(_PROCESS / "status", rf"^{name}:\s+(\d+) kB") << 10 for name in ("VmRSS", "VmSize"))
        limits = [_Limit(_number(_MACHINE, r"^MemAvailable:\s+(\d+) kB") << 10, resident, "")]
    except (OSError, ValueError):
        return []
    try:
        most, used = (_number(_GROUP / f"memory.{name}", r"^(\d+)$") for name in ("max", "current"))
        limits.append(_Limit(max(0, most - used), resident, ""))
    except (OSError, ValueError):  # no control groups, or no limit
        pass
    try:
        most = _number(_PROCESS / "limits", r"^Max address space\s+(\d+)")
        limits.append(_Limit(max(0, most - mapped), mapped, _ADDRESSES))
    except (OSError, ValueError):  # no limit
        pass
    return limits


def _number(file: Path, pattern: str) -> int:
    if (found := re.search(pattern, file.read_text(), re.M)) is None:
        raise ValueError
    return int(found[1])
