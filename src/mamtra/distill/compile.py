"""Faster training steps: CUDA graphs, compiled layers, Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch._dynamo
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.cuda_graphs import GraphCache

_VARIANTS = 512
"""Compiled forms of one layer: a length of each bucket, two kinds, teacher and student, with and without gradients."""


class Captured:
    """Calls ``function(**tensors)``, as a CUDA graph where asked: one for each set of input shapes, captured before training.

    A step of a thin network costs the host tens of milliseconds launch by launch, and a single launch as a graph.

    Args:
        function: updates tensors in place and returns nothing.
        device: of the tensors.
        graphs: use graphs, on CUDA; otherwise the function is called eagerly.
    """

    def __init__(self, function: Callable[..., None], device: torch.device, *, graphs: bool) -> None:
        self._function, self._device = function, device
        self._graphs = GraphCache(device, capacity=None) if graphs and device.type == "cuda" else None

    def capture(self, **inputs: Tensor) -> None:
        """Capture the graph of these shapes; the function runs a few times for it, so reset what it updated."""
        if self._graphs is not None:
            names = sorted(inputs)

            def run(*tensors: Tensor) -> tuple[()]:
                self._function(**dict(zip(names, tensors, strict=True)))
                return ()

            self._graphs.capture(tuple(names), run, [inputs[name] for name in names])

    def __call__(self, **inputs: Tensor) -> None:
        """Run it on inputs from any device."""
        if self._graphs is None:
            self._function(**{name: value.to(self._device, non_blocking=True) for name, value in inputs.items()})
            return
        names = sorted(inputs)
        self._graphs.replay(tuple(names), [inputs[name] for name in names])


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
