"""Adam over one flat gradient, with clipping, a running average of the weights, and a stop at gradients that are not finite.

Nothing here synchronises with the device, so an update can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mamtra.distill.distributed import Processes
from mamtra.distill.settings import OptimizerSettings
from mamtra.distill.sharding import Sharding


class Optimiser:
    """Updates the weights of a module.

    All gradients are views of one flat tensor, which is summed up over micro-batches, reduced over processes and measured as
    a whole. An update whose gradient is not finite changes nothing, nor does any update after it.

    Args:
        module: float32 weights on their device.
        settings: see `OptimizerSettings`.
        sharding: of the weights; none by default. Each process updates its own shards.

    Attributes:
        gradient: (N,) float32, of all trained parameters, or this process's parts of them, concatenated.
        norm: () of the last gradient of all processes, before clipping.
        failed_at: () int64, number of the first update whose gradient was not finite; -1 while there was none.
    """

    def __init__(self, module: nn.Module, settings: OptimizerSettings, sharding: Sharding | None = None) -> None:
        self.module, self.settings = module, settings
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(settings.train == "all" or ".mamba." in name)
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        device = named[0][1].device
        self._sharding = sharding or Sharding(Processes(0, 1, device))
        self.names, self._whole = [name for name, _ in named], [p for _, p in named]
        self.parameters = [self._sharding.own(p) for p in self._whole]
        self._on_device = device.type == "cuda"
        self.gradient = torch.zeros(sum(p.numel() for p in self.parameters), device=device)
        self._views = [
            part.view_as(p)
            for part, p in zip(self.gradient.split([p.numel() for p in self.parameters]), self.parameters, strict=True)
        ]
        self.norm = torch.zeros((), device=device)
        self.failed_at = torch.full((), -1, dtype=torch.int64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        # the mixers have their own learning rate: alignment stages train nothing else
        self._rates = {part: torch.tensor(settings.lr, device=device) for part in ("mixers", "others")}
        decay = settings.weight_decay if settings.name == "adamw" else 0.0
        groups = []
        for part, rate in self._rates.items():
            mine = [
                p
                for name, p in zip(self.names, self.parameters, strict=True)
                if (".mamba." in name) == (part == "mixers")
            ]
            for matrices in (True, False):
                chosen = [p for p in mine if (p.ndim > 1) == matrices]
                if chosen:
                    lr = rate if self._on_device else settings.lr
                    groups.append({"params": chosen, "weight_decay": decay * matrices, "lr": lr, "part": part})
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        self.adam = kind(
            groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=0.0,
            fused=self._on_device, capturable=self._on_device,
        )  # fmt: skip
        for p in self.parameters:  # allocated now, since a captured update must not allocate
            self.adam.state[p] = {
                "step": torch.zeros((), device=device if self._on_device else "cpu"),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.averages = [p.detach().clone() for p in self.parameters] if settings.average > 0 else []
        self.attach()

    def attach(self) -> None:
        """Make the gradients views of the flat one, again after something has replaced them."""
        for whole, p, view in zip(self._whole, self.parameters, self._views, strict=True):
            p.grad = view
            self._sharding.attach(whole, view)

    def rate(self, progress: float) -> float:
        """Learning rate at a point of the training in [0, 1]."""
        s = self.settings
        if progress < s.warmup:
            return s.lr * progress / s.warmup
        if s.schedule == "constant":
            return s.lr
        along = min(1.0, (progress - s.warmup) / max(1e-9, 1 - s.warmup))
        return s.lr * (s.floor + (1 - s.floor) * 0.5 * (1 + math.cos(math.pi * along)))

    def set_rate(self, rate: float, *, mixers_only: bool = False) -> None:
        """Set the learning rate, or that of the mixers and zero for all else."""
        rates = {"mixers": rate, "others": 0.0 if mixers_only else rate}
        for part, value in self._rates.items():
            value.fill_(rates[part])
        if not self._on_device:
            for group in self.adam.param_groups:
                group["lr"] = rates[group["part"]]

    def update(self) -> None:
        """Clip, update weights and averages, and clear the gradient."""
        self.norm.copy_(self._sharding.norm(self.gradient))
        broken = ~torch.isfinite(self.norm)
        self.failed_at.copy_(torch.where((self.failed_at < 0) & broken, self.count, self.failed_at))
        stopped = self.failed_at >= 0
        if self._on_device:  # the fused step divides by grad_scale, and skips the update where found_inf is set
            self.adam.found_inf = stopped.float()
            self.adam.grad_scale = ((self.norm + 1e-6) / self.settings.clip).clamp(min=1.0)
            self.adam.step()
            self._average(stopped)
        elif not bool(stopped):
            self.gradient.mul_((self.settings.clip / (self.norm + 1e-6)).clamp(max=1.0))
            self.adam.step()
            self._average(stopped)
        self.count.add_(1)
        self.gradient.zero_()

    @torch.no_grad()
    def _average(self, stopped: Tensor) -> None:
        if not self.averages:
            return
        done = self.count.float() + 1  # a shorter average in the beginning, so that the initial weights are forgotten
        keep = torch.minimum(torch.full_like(done, self.settings.average), (1 + done) / (10 + done))
        change = torch._foreach_sub([p.detach() for p in self.parameters], self.averages)
        torch._foreach_mul_(change, torch.where(stopped, torch.zeros_like(keep), 1 - keep))
        torch._foreach_add_(self.averages, change)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the module the averaged weights within the context."""
        own = [p.detach().clone() for p in self.parameters] if self.averages else []
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for p, value in zip(self.parameters, values, strict=False):
            p.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Everything but the weights themselves, by name, whatever the sharding.

        Views, not copies, of unsharded weights; see `Sharding.collect` for sharded ones.
        """
        found = {"count": self.count, "failed_at": self.failed_at}
        return found | self._sharding.collect(self._parts())

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Load what `state` returned, in place.

        Raises:
            KeyError: something is missing.
        """
        self.count.copy_(state["count"])
        self.failed_at.copy_(state["failed_at"])
        for name, whole, value in self._parts():
            value.copy_(self._sharding.cut(whole, state[name]))

    def _parts(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Moments and averages by name, each with its parameter."""
        for name, whole, p in zip(self.names, self._whole, self.parameters, strict=True):
            for slot, value in self.adam.state[p].items():
                yield f"{slot}.{name}", whole, value
        for name, whole, value in zip(self.names, self._whole, self.averages, strict=False):
            yield f"average.{name}", whole, value
