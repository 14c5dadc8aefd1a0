"""The weights of a training run: complete in every process, or sharded between the processes by FSDP2, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

from mamtra.distill.distributed import Processes
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM

Result = TypeVar("Result")


class Sharding:
    """Puts models on the devices of the processes, sharded or not.

    Sharded weights are divided along their first dimension. A layer is gathered just before it runs and resharded after it;
    gradients are reduced to the shards. Head, speech embedding and last norm are small and stay gathered between the forward and
    the backward pass.

    Args:
        processes: of the training run.
        split: shard weights, if there are several processes.

    Raises:
        MamTraError: this version of torch has no FSDP2.
    """

    def __init__(self, processes: Processes, *, split: bool = False) -> None:
        self._processes, self.split = processes, split and processes.world > 1
        self._roots: dict[nn.Module, _Root] = {}
        if self.split and not _has_fsdp2():
            raise MamTraError("run.parallel fsdp needs torch 2.8 or newer; update torch or set it to ddp.")

    def put(self, lm: SpeechLM) -> SpeechLM:
        """Move a model to the device, in place, and shard it; returns the same object."""
        if not self.split:
            return lm.to(self._processes.device)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self._processes.device.type, (self._processes.world,))
        root = _Root(lm)
        for module in (*lm.model.layers, lm.model.embed_tokens, root):
            fully_shard(module, mesh=mesh)
        for module in root.modules():
            if hasattr(module, "set_gradient_divide_factor"):  # micro-batches are weighted already: sum, do not average
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        self._roots[lm] = root
        return lm

    def run(self, lm: SpeechLM, function: Callable[..., Result], *inputs: Any) -> Result:
        """``function(*inputs)``, which may use the model; all processes call it together."""
        root = self._roots.get(lm)
        return function(*inputs) if root is None else root(function, *inputs)

    def whole(self, lm: SpeechLM) -> SpeechLM:
        """The model for use by a single process: itself, or a frozen copy with gathered weights."""
        if lm not in self._roots:
            return lm
        for module in self._roots[lm].modules():
            if hasattr(module, "reshard"):  # a forward pass without a backward pass leaves the root gathered
                module.reshard()
        with torch.device("meta"):
            copy = SpeechLM(lm.config)
        copy.load_state_dict(get_model_state_dict(lm, options=StateDictOptions(full_state_dict=True)), assign=True)
        return copy.requires_grad_(False).train(lm.training)

    def weights(self, lm: SpeechLM) -> dict[str, Tensor]:
        """All weights by name; sharded ones on the CPU of the first process, the others get none."""
        if not self.split:
            return dict(lm.named_parameters())
        return get_model_state_dict(lm, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    @torch.no_grad()
    def load(self, lm: SpeechLM, weights: Mapping[str, Tensor]) -> None:
        """Load what `weights` returned, in place.

        Raises:
            KeyError: something is missing.
            RuntimeError: something has another shape.
        """
        if self.split:
            set_model_state_dict(lm, dict(weights), options=StateDictOptions(full_state_dict=True))
            return
        for name, parameter in lm.named_parameters():
            parameter.copy_(weights[name])

    def collect(self, named: Iterable[tuple[str, nn.Parameter, Tensor]]) -> dict[str, Tensor]:
        """Tensors by name; sharded ones gathered on the CPU of the first process, the others get none.

        Args:
            named: names, parameters, and the shards of tensors of the shapes of these parameters.
        """
        # `get_optimizer_state_dict` of torch wants an optimiser over the sharded parameters themselves. Ours updates plain tensors
        # that share their memory, since its gradients are views of one flat tensor that is clipped as a whole.
        if not self.split:
            return {name: part for name, _, part in named}
        kept = {}
        for name, parameter, part in named:
            whole = part if part.ndim == 0 else _distributed(parameter, part).full_tensor()
            if self._processes.first:
                kept[name] = whole.cpu()
        return kept

    def own(self, parameter: nn.Parameter) -> Tensor:
        """The shard of this process; it shares the memory of the parameter."""
        return parameter.detach().to_local() if self.split else parameter

    def cut(self, parameter: nn.Parameter, whole: Tensor) -> Tensor:
        """The shard of this process of a complete tensor."""
        if not self.split or whole.ndim == 0:
            return whole
        parts = whole.chunk(self._processes.world)
        return parts[self._processes.rank] if self._processes.rank < len(parts) else whole[:0]

    def attach(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        """Make a tensor of the shape of `own` the gradient of a sharded parameter."""
        if self.split:
            parameter.grad = _distributed(parameter, gradient)

    def add(self, gradient: Tensor) -> None:
        """Sum a gradient over all processes, unless the backward pass has done so."""
        if not self.split:
            self._processes.add(gradient)

    def norm(self, gradient: Tensor) -> Tensor:
        """Norm of the complete gradient, equal on all processes."""
        if not self.split:
            return torch.linalg.vector_norm(gradient)
        squares = torch.linalg.vector_norm(gradient).square()
        dist.all_reduce(squares)
        return squares.sqrt()


class _Root(nn.Module):
    """Runs functions of a model as a forward pass, for which FSDP gathers the weights outside the layers."""

    def __init__(self, lm: SpeechLM) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, function: Callable[..., Result], *inputs: Any) -> Result:
        return function(*inputs)


def _distributed(like: nn.Parameter, part: Tensor) -> Any:
    """The shards of all processes as one tensor, sharded like a parameter."""
    from torch.distributed.tensor import DTensor

    layout = {"shape": like.shape, "stride": like.stride()}
    return DTensor.from_local(part, like.device_mesh, like.placements, run_check=False, **layout)


def _has_fsdp2() -> bool:
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:
        return False
    return hasattr(FSDPModule, "set_force_sum_reduction_for_comms")
