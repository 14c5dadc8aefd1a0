"""Build a module without initialising its weights, and load weights into it by exact names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

_INITIALISERS = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    init.normal_,
    init.uniform_,
    init.trunc_normal_,
    init.kaiming_normal_,
    init.kaiming_uniform_,
    init.xavier_normal_,
    init.xavier_uniform_,
}


class _SkipInit(TorchFunctionMode):
    """Turns random initialisers and weight norm into no-ops. Computed buffers are made as usual."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS or func is torch._weight_norm:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def build_uninitialised(factory: Callable[[], nn.Module]) -> nn.Module:
    """Call `factory` without random initialisation. The global random state is not touched."""
    state = torch.get_rng_state()
    try:
        with _SkipInit():
            return factory()
    finally:
        torch.set_rng_state(state)


def load_strictly(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], where: str, sizes: str = "its config.json"
) -> nn.Module:
    """Put `tensors` into `module` (no copy is made), which goes to eval mode with gradients off.

    Args:
        where: name of the file, for the message.
        sizes: name of the file with the sizes, for the message.

    Raises:
        MamTraError: names or shapes differ; the message lists the first of each kind.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    difference = describe_difference(wanted, found)
    if difference:
        raise MamTraError(f"{where} does not fit {sizes}: {difference}.")
    module.load_state_dict(dict(tensors), strict=True, assign=True)
    return module.eval().requires_grad_(False)


def describe_difference(wanted: Mapping[str, tuple], found: Mapping[str, tuple], most: int = 3) -> str:
    """How two name-to-shape tables differ, in words; empty where they are equal."""
    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    shapes = [
        f"{name} is {found[name]} and should be {wanted[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]

    def line(title: str, names: list[str]) -> list[str]:
        more = ", ..." if len(names) > most else ""
        return (
            [f"{len(names)} {title} ({', '.join(printable(name, 200) for name in names[:most])}{more})"]
            if names
            else []
        )

    return "; ".join(line("missing", missing) + line("unknown", unknown) + line("of another shape", shapes))
