"""What the Triton kernels of a decode step share: when they may run, early starts on Hopper, scratch memory.

A decode step is a chain of short kernels. On GPUs from compute capability 9.0 on, each kernel is launched while the one before
it still runs (programmatic dependent launch): it fetches its weights, then waits until what it depends on is written.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl

COUNTERS = 16384


class Workspace:
    """Scratch memory for kernels that split one sum over several programs.

    One workspace serves one stream of launches: two decode steps that may run at the same time need one each.

    Attributes:
        counters: int32, all zero between kernels.
        partials: float32, unspecified content between kernels.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        self.counters = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
        self.partials = torch.empty(size, dtype=torch.float32, device=device)


@lru_cache
def launch_options(device: torch.device) -> dict[str, object]:
    """Keyword arguments of every launch: whether kernels start before the previous one has ended."""
    early = device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (9, 0)
    return {"PDL": early, "launch_pdl": True} if early else {"PDL": False}


@triton.jit
def wait_for_previous(PDL: tl.constexpr):
    """Wait until the kernels before have written their results, then let the next one start early."""
    if PDL:
        tl.extra.cuda.gdc_wait()
        # Before the wait it would let kernels further down the chain take up registers and shared memory too soon: on an H100 that
        # gains nothing for one row and loses a tenth for many.
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def prefetch(pointers, PDL: tl.constexpr):
    """Fetch the cache lines of valid global addresses into L2."""
    if PDL:
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [pointers], dtype=tl.int32, is_pure=False, pack=1
        )
