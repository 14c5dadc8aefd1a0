"""Adam over one flat gradient, with clipping, a running average of the weights, and a brake for gradients that are no numbers.

Nothing here asks the device for a value, so an update can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mamtra.distill.distributed import Processes
from mamtra.distill.settings import OptimizerSettings
from mamtra.distill.sharding import Placement


class Optimiser:
    """Moves the weights of a module.

    All gradients are views of one flat tensor, which is summed up over micro-batches, reduced over processes and measured as
    a whole. An update whose gradient is not finite changes nothing, nor does any update after it.

    Args:
        module: float32 weights on their device.
        settings: see `OptimizerSettings`.
        placement: where the weights lie; whole by default. Of split weights each process moves its own parts.

    Attributes:
        gradient: (N,) float32, of all trained parameters, or this process's parts of them, behind one another.
        norm: () of the last gradient of all processes, before clipping.
        failed_at: () int64, number of the update that met a gradient that is no number; -1 while there was none.
    """

    def __init__(self, module: nn.Module, settings: OptimizerSettings, placement: Placement | None = None) -> None:
        self.module, self.settings = module, settings
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(settings.train == "all" or ".mamba." in name)
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        device = named[0][1].device
        self._placement = placement or Placement(Processes(0, 1, device))
        self.names, self._whole = [name for name, _ in named], [p for _, p in named]
        self.parameters = [self._placement.own(p) for p in self._whole]
        self._on_device = device.type == "cuda"
        self.gradient = torch.zeros(sum(p.numel() for p in self.parameters), device=device)
        self._views = [
            part.view_as(p)
            for part, p in zip(self.gradient.split([p.numel() for p in self.parameters]), self.parameters, strict=True)
        ]
        self.norm = torch.zeros((), device=device)
        self.failed_at = torch.full((), -1, dtype=torch.int64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        # the mixers have a rate of their own: in the stages of an alignment all else stands still
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
        for p in self.parameters:  # made at once, so that a captured update does not allocate
            self.adam.state[p] = {
                "step": torch.zeros((), device=device if self._on_device else "cpu"),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.averages = [p.detach().clone() for p in self.parameters] if settings.average > 0 else []
        self.attach()

    def attach(self) -> None:
        """Make the gradients views of the flat one; whatever dropped them must call this."""
        for whole, p, view in zip(self._whole, self.parameters, self._views, strict=True):
            p.grad = view
            self._placement.attach(whole, view)

    def rate(self, progress: float) -> float:
        """Learning rate at a point of the training in [0, 1]."""
        s = self.settings
        if progress < s.warmup:
            return s.lr * progress / s.warmup
        if s.schedule == "constant":
            return s.lr
        along = min(1.0, (progress - s.warmup) / max(1e-9, 1 - s.warmup))
        return s.lr * (s.floor + (1 - s.floor) * 0.5 * (1 + math.cos(math.pi * along)))

    def set_rate(self, rate: float, *, mixers_alone: bool = False) -> None:
        """For the updates to come; all but the mixers may stand still."""
        rates = {"mixers": rate, "others": 0.0 if mixers_alone else rate}
        for part, value in self._rates.items():
            value.fill_(rates[part])
        if not self._on_device:
            for group in self.adam.param_groups:
                group["lr"] = rates[group["part"]]

    def update(self) -> None:
        """Clip, move weights and averages, and clear the gradient."""
        self.norm.copy_(self._placement.norm(self.gradient))
        broken = ~torch.isfinite(self.norm)
        self.failed_at.copy_(torch.where((self.failed_at < 0) & broken, self.count, self.failed_at))
        stopped = self.failed_at >= 0
        if (
            self._on_device
        ):  # the fused step divides by the scale as it goes, and does nothing where something is infinite
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
        done = self.count.float() + 1  # the average forgets where it began: it is short in the beginning
        keep = torch.minimum(torch.full_like(done, self.settings.average), (1 + done) / (10 + done))
        change = torch._foreach_sub([p.detach() for p in self.parameters], self.averages)
        torch._foreach_mul_(change, torch.where(stopped, torch.zeros_like(keep), 1 - keep))
        torch._foreach_add_(self.averages, change)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The module has the averaged weights inside, and its own again after."""
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
        """Everything but the weights themselves, by name, the same for any placement.

        Views, not copies, where weights are whole; see `Placement.collect` where they are split.
        """
        found = {"count": self.count, "failed_at": self.failed_at}
        return found | self._placement.collect(self._parts())

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave, in place.

        Raises:
            KeyError: something is missing.
        """
        self.count.copy_(state["count"])
        self.failed_at.copy_(state["failed_at"])
        for name, whole, value in self._parts():
            value.copy_(self._placement.cut(whole, state[name]))

    def _parts(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Moments and averages by name, each with the parameter that it has the shape of; counts of updates have none."""
        for name, whole, p in zip(self.names, self._whole, self.parameters, strict=True):
            for slot, value in self.adam.state[p].items():
                yield f"{slot}.{name}", whole, value
        for name, whole, value in zip(self.names, self._whole, self.averages, strict=False):
            yield f"average.{name}", whole, value
