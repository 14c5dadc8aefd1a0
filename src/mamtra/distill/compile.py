"""Functions without results, run as CUDA graphs: one for every set of shapes, recorded before training begins.

A step of a thin network costs the host tens of milliseconds launch by launch, and a single launch as a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch._dynamo
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM

_VARIANTS = 512
"""Compiled forms of one layer: a length of each bucket, two kinds, teacher and student, with and without gradients."""


class Captured:
    """Runs ``function(**tensors)``.

    Args:
        function: that changes tensors in place and returns nothing.
        device: of the tensors.
        graphs: record graphs; otherwise the function is called as it is.
    """

    def __init__(self, function: Callable[..., None], device: torch.device, *, graphs: bool) -> None:
        self._function, self._device, self._graphs = function, device, graphs and device.type == "cuda"
        self._recorded: dict[tuple, tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]] = {}
        self._pool: tuple | None = None

    def record(self, **inputs: Tensor) -> None:
        """Record the graph of these shapes; the function is run a few times for it, so what it changed is to be reset."""
        if not self._graphs:
            return
        buffers = {name: value.to(self._device).clone() for name, value in inputs.items()}
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(2):
                self._function(**buffers)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._function(**buffers)
        self._pool = self._pool or graph.pool()
        self._recorded[_shapes(inputs)] = graph, buffers

    def __call__(self, **inputs: Tensor) -> None:
        """Run it on inputs from anywhere."""
        if not self._graphs:
            self._function(**{name: value.to(self._device, non_blocking=True) for name, value in inputs.items()})
            return
        graph, buffers = self._recorded[_shapes(inputs)]
        for name, value in inputs.items():
            buffers[name].copy_(value, non_blocking=True)
        graph.replay()


def _shapes(inputs: dict[str, Tensor]) -> tuple:
    return tuple((name, tuple(value.shape)) for name, value in sorted(inputs.items()))


def compile_layers(*models: SpeechLM) -> None:
    """Compile the layers of some models one by one, for each shape anew; the same kind of layer is compiled once."""
    for name in ("recompile_limit", "accumulated_recompile_limit", "cache_size_limit", "accumulated_cache_size_limit"):
        if hasattr(torch._dynamo.config, name):  # the names changed with torch 2.6
            setattr(torch._dynamo.config, name, _VARIANTS)
    for model in models:
        model.model.defer_residual = True
        for layer in model.model.layers:
            layer.compile(dynamic=False)


def enable_triton(model: SpeechLM, device: torch.device) -> None:
    """Use the Triton kernels of the layers in training.

    Raises:
        MamTraError: Triton or a GPU is missing, or the kernels do not support the sizes of the model.
    """
    if device.type != "cuda" or find_spec("triton") is None:
        raise MamTraError("run.use_triton needs a CUDA device and Triton; set it to false.")
    if model.config.head_dim not in (16, 32, 64):
        raise MamTraError("run.use_triton needs heads of 16, 32 or 64 channels; set it to false.")
    if model.config.mamba_conv_kernel > 4:
        raise MamTraError("run.use_triton needs convolutions of at most 4 taps; set it to false.")
    if model.config.hidden_size % 8 or model.config.intermediate_size % 8:
        raise MamTraError("run.use_triton needs layers whose widths are multiples of 8; set it to false.")
    for layer in model.model.layers:
        layer.mixer.use_triton = layer.mlp.use_triton = True
