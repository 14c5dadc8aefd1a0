"""The processes of a training run, as torchrun starts them; a single one needs no process group."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from mamtra.runtime.device import pick_device


@dataclass(frozen=True)
class Processes:
    """This process and the number of all."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def join(cls, device: str | None = None) -> Processes:
        """Join the process group if torchrun has started several processes.

        Args:
            device: of a single process; only its type where there are several.

        Raises:
            MamTraError: there is no such device.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        found = pick_device(device)
        if found.type == "cuda":
            found = pick_device(f"cuda:{os.environ['LOCAL_RANK'] if world > 1 else found.index or 0}")
            torch.cuda.set_device(found)
        if world == 1:
            return cls(0, 1, found)
        rank = int(os.environ["RANK"])
        if not dist.is_initialized():
            dist.init_process_group("nccl" if found.type == "cuda" else "gloo", rank=rank, world_size=world)
        return cls(rank, world, found)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> None:
        """Sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def agree(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        found = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found.item())

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        """Leave the process group."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()
