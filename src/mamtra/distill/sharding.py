"""Where the weights of a training lie: whole on every process, or split between the processes by FSDP2, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mamtra.distill.distributed import Processes
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM

Result = TypeVar("Result")


class Placement:
    """Puts models on the devices of the processes.

    Split weights are cut along their first dimension, one piece a process. A layer is gathered just before it runs and given
    up behind; gradients are summed where the piece lies. Head, speech table and last norm are small and stay gathered
    between the forward and the backward pass.

    Args:
        processes: of the training.
        split: cut weights; with a single process there is nothing to cut.

    Raises:
        MamTraError: this torch cannot split.
    """

    def __init__(self, processes: Processes, *, split: bool = False) -> None:
        self._processes, self.split = processes, split and processes.world > 1
        self._roots: dict[nn.Module, _Root] = {}
        if self.split and not _has_fsdp2():
            raise MamTraError("run.parallel fsdp needs torch 2.8 or newer; update torch or set it to ddp.")

    def put(self, lm: SpeechLM) -> SpeechLM:
        """The model, on the device; its own object, changed in place."""
        if not self.split:
            return lm.to(self._processes.device)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self._processes.device.type, (self._processes.world,))
        root = _Root(lm)
        for module in (*lm.model.layers, lm.model.embed_tokens, root):
            fully_shard(module, mesh=mesh)
        for module in root.modules():
            if hasattr(module, "set_gradient_divide_factor"):  # micro-batches are weighted already: sums, not means
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        self._roots[lm] = root
        return lm

    def run(self, lm: SpeechLM, function: Callable[..., Result], *inputs: Any) -> Result:
        """``function(*inputs)``, in which the model may be used; all processes call it side by side."""
        root = self._roots.get(lm)
        return function(*inputs) if root is None else root(function, *inputs)

    def whole(self, lm: SpeechLM) -> SpeechLM:
        """The model for use by any process on its own: itself, or a copy of the gathered weights that learns nothing."""
        if lm not in self._roots:
            return lm
        for module in self._roots[lm].modules():
            if hasattr(module, "reshard"):  # what no backward pass has followed is gathered still
                module.reshard()
        with torch.device("meta"):
            copy = SpeechLM(lm.config)
        gathered = {name: self.gather(parameter) for name, parameter in lm.named_parameters()}
        copy.load_state_dict(gathered, assign=True)
        return copy.requires_grad_(False).train(lm.training)

    def weights(self, lm: SpeechLM) -> dict[str, Tensor]:
        """All weights by name, for the first process to write; see `collect`."""
        return self.collect((name, p, self.own(p)) for name, p in lm.named_parameters())

    @torch.no_grad()
    def load(self, lm: SpeechLM, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave, in place.

        Raises:
            KeyError: something is missing.
            RuntimeError: something has another shape.
        """
        for name, parameter in lm.named_parameters():
            self.own(parameter).copy_(self.cut(parameter, weights[name]))

    def collect(self, named: Iterable[tuple[str, nn.Parameter, Tensor]]) -> dict[str, Tensor]:
        """Whole tensors on the CPU by name, where they are split: on the first process, the others get none.

        Args:
            named: names, parameters, and what this process has of the parameter or of something of its shape.
        """
        found = {name: (p, part) for name, p, part in named}
        if not self.split:
            return {name: part for name, (_, part) in found.items()}
        kept = {}
        for name, (p, part) in found.items():
            whole = self.gather(p, part)
            if self._processes.first:
                kept[name] = whole.cpu()
        return kept

    def gather(self, parameter: nn.Parameter, part: Tensor | None = None) -> Tensor:
        """All of a parameter, or of a tensor of its shape of which every process has its part."""
        part = self.own(parameter) if part is None else part
        if not self.split or part.ndim == 0:
            return part
        return _distributed(parameter, part).full_tensor()

    def own(self, parameter: nn.Parameter) -> Tensor:
        """What this process has of a parameter; the memory is shared."""
        return parameter.detach().to_local() if self.split else parameter

    def cut(self, parameter: nn.Parameter, whole: Tensor) -> Tensor:
        """What this process needs of a whole tensor."""
        if not self.split or whole.ndim == 0:
            return whole
        parts = whole.chunk(self._processes.world)
        return parts[self._processes.rank] if self._processes.rank < len(parts) else whole[:0]

    def attach(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        """Have the backward pass of a split parameter add to a tensor of the shape of `own`."""
        if self.split:
            parameter.grad = _distributed(parameter, gradient)

    def add(self, gradient: Tensor) -> None:
        """Sum a gradient over all processes, unless the backward pass has done so."""
        if not self.split:
            self._processes.add(gradient)

    def norm(self, gradient: Tensor) -> Tensor:
        """Of the whole gradient, the same on all processes."""
        if not self.split:
            return torch.linalg.vector_norm(gradient)
        squares = torch.linalg.vector_norm(gradient).square()
        dist.all_reduce(squares)
        return squares.sqrt()


class _Root(nn.Module):
    """Runs functions of a model as a forward pass, around which FSDP gathers what is not in a layer."""

    def __init__(self, lm: SpeechLM) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, function: Callable[..., Result], *inputs: Any) -> Result:
        return function(*inputs)


def _distributed(like: nn.Parameter, part: Tensor) -> Any:
    """Parts that lie on the processes as one tensor, cut as a parameter is."""
    from torch.distributed.tensor import DTensor

    layout = {"shape": like.shape, "stride": like.stride()}
    return DTensor.from_local(part, like.device_mesh, like.placements, run_check=False, **layout)


def _has_fsdp2() -> bool:
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:
        return False
    return hasattr(FSDPModule, "set_force_sum_reduction_for_comms")
