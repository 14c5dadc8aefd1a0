"""What the processor can do."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

_FLAGS = {"avx512_vnni", "avx_vnni"}


@lru_cache(maxsize=1)
def has_dot_products(machine: str | None = None, facts: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether products of 8-bit numbers are summed in 32 bits.

    An x86 processor without these instructions (VNNI) sums pairs in 16 bits, which the weights' full range overflows; there, and
    where the system does not tell, products are to be computed in float32.
    """
    if (machine or platform.machine()).lower() in ("arm64", "aarch64"):
        return True
    try:
        return not _FLAGS.isdisjoint(facts.read_text().split())
    except OSError:
        return False
