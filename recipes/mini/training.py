"""Shared by all training scripts of the recipe: configuration, captured steps, schedule, averaging, checkpoints, log."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mamtra.checkpoints.storage import unpack
from mamtra.encoders.speech_tokenizer import SpeechTokenizerConfig, token_digits
from mamtra.runtime.cuda_graphs import CudaGraphs, GraphCache
from mamtra.runtime.files import atomic_file


def command(description: str) -> argparse.ArgumentParser:
    """A parser with the common options: --config, --out, --resume, --device and key=value changes of the settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="YAML file with all settings")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--resume", type=Path, help="weights to start from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("changes", nargs="*", metavar="key=value")
    return parser


def section(path: Path, name: str, changes: Iterable[str] = ()) -> dict:
    """One section of the YAML configuration; `changes` are key=value overrides. Unknown keys are refused."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))[name]
    for change in changes:
        key, _, value = change.partition("=")
        if key not in config:
            raise SystemExit(f"{name} has no setting {key}; it has {', '.join(config)}")
        config[key] = yaml.safe_load(value)
    return config


class Captured:
    """Runs `step(**tensors) -> dict of tensors`, on CUDA as a graph captured once per set of shapes.

    With networks this small, launching an eager step takes the host far longer than the device needs; a graph is one launch.
    The step runs a few times before each capture.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]], device: str) -> None:
        self.step, self.results = step, {}
        self.graphs = None if device == "cpu" else GraphCache(device, capacity=None)

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        if self.graphs is None:
            return self.step(**inputs)
        names = tuple(sorted(inputs))
        values = [inputs[name] for name in names]
        if not self.graphs.has(names, values):
            self.graphs.capture(names, partial(self.run, names), values)
        return dict(zip(self.results[names], self.graphs.replay(names, values), strict=True))

    def run(self, names: tuple[str, ...], *values: Tensor) -> tuple[Tensor, ...]:
        results = self.step(**dict(zip(names, values, strict=True)))
        self.results[names] = tuple(results)
        return tuple(results.values())


class CapturedAround:
    """A captured step with one eager part in its middle, for a loss that cannot be captured (CTC reads lengths on the host).

    `forward(**tensors) -> (scores, others)` and `backward(others, scores, gradient) -> dict of tensors` are captured, the second
    continuing the autograd graph of the first; `gradient(scores, *args)` between them runs eagerly and gives d loss / d scores.
    """

    def __init__(self, forward: Callable, gradient: Callable, backward: Callable, device: str, eager: bool) -> None:
        self.forward, self.gradient, self.backward, self.device = forward, gradient, backward, device
        self.backend = None if eager or device == "cpu" else CudaGraphs(torch.device(device))
        self.graphs = {}

    def __call__(self, args: tuple, **inputs: Tensor) -> dict[str, Tensor]:
        if self.backend is None:
            scores, others = self.forward(**inputs)
            return self.backward(others, scores, self.gradient(scores.detach(), *args))
        key = tuple((name, tuple(value.shape)) for name, value in sorted(inputs.items()))
        if key not in self.graphs:
            self.graphs[key] = self.capture(inputs)
        first, second, buffers, scores, slope, outputs = self.graphs[key]
        for name, value in inputs.items():
            buffers[name].copy_(value, non_blocking=True)
        first()
        slope.copy_(self.gradient(scores.detach(), *args))
        second()
        return outputs

    def capture(self, inputs: dict[str, Tensor]) -> tuple:
        buffers = {name: value.to(self.device).clone() for name, value in inputs.items()}
        slopes = []

        def run() -> None:
            scores, others = self.forward(**buffers)
            slopes[:] = [torch.zeros_like(scores)]
            self.backward(others, scores, slopes[0])

        self.backend.warm_up(run)
        slope = slopes.pop()
        first, (scores, others) = self.backend.capture(lambda: self.forward(**buffers))
        second, outputs = self.backend.capture(lambda: self.backward(others, scores, slope))
        return first, second, buffers, scores, slope, outputs


class Optimiser:
    """AdamW with a learning rate on the device, gradient clipping and a running average of the weights, all capturable."""

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        betas=(0.9, 0.98),
        decay: float = 0.01,
        clip: float = 1.0,
        average: float = 0.999,
    ) -> None:
        self.module, self.clip = module, clip
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        device = self.parameters[0].device
        cuda = device.type == "cuda"
        self.lr, self.peak = torch.tensor(lr, device=device), lr
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, lr=self.lr if cuda else lr, betas=betas, fused=cuda, capturable=cuda)
        self.average, self.count = average, torch.zeros((), device=device)
        self.averaged = [p.detach().clone() for p in self.parameters]

    def schedule(self, progress: float, warm: float = 0.03, floor: float = 0.02) -> None:
        """Linear warm-up, then a cosine down to `floor` of the peak; progress in [0, 1]."""
        scale = (
            min(1.0, progress / warm)
            if progress < warm
            else floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        )
        if self.lr.device.type == "cuda":
            self.lr.fill_(self.peak * scale)
        else:
            for group in self.adam.param_groups:
                group["lr"] = self.peak * scale

    def step(self, loss: Tensor) -> Tensor:
        """Backward and update; returns the gradient norm. Gradients must be None or stale: they are dropped first."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        return self.update()

    def update(self) -> Tensor:
        """The update alone, for gradients that are already computed."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if norm.is_cuda:  # the fused update skips a step whose gradient is not finite
            self.adam.found_inf = (~torch.isfinite(norm)).float()
        self.adam.step()
        self.count += 1
        keep = torch.minimum(torch.full_like(self.count, self.average), (1 + self.count) / (10 + self.count))
        with torch.no_grad():
            change = torch._foreach_sub([p.detach() for p in self.parameters], self.averaged)
            torch._foreach_mul_(change, 1 - keep)
            torch._foreach_add_(self.averaged, change)
        return norm

    def averaged_state(self) -> dict[str, Tensor]:
        """The module's state dict with averaged weights."""
        state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        state.update({name: mean.clone() for name, mean in zip(names, self.averaged, strict=True)})
        return {name: value.cpu().contiguous() for name, value in state.items()}


class Run:
    """Progress, log and output file of one training run."""

    def __init__(self, out: Path, steps: int, minutes: float | None) -> None:
        self.out, self.steps, self.minutes, self.number = out, steps, minutes, 0
        out.parent.mkdir(parents=True, exist_ok=True)
        self.log = out.with_suffix(".log.jsonl").open("a", encoding="utf-8")
        self.begin = self.last = time.time()

    @property
    def progress(self) -> float:
        by_time = (time.time() - self.begin) / (60 * self.minutes) if self.minutes else 0.0
        return max(self.number / self.steps, by_time)

    def __iter__(self):
        while self.progress < 1:
            yield self.number
            self.number += 1

    def report(self, every: int, **values: Tensor | float) -> None:
        if self.number % every:
            return
        numbers = {
            name: round(float(value.detach() if isinstance(value, Tensor) else value), 5)
            for name, value in values.items()
        }
        wall = time.time() - self.begin
        line = {"step": self.number, "minutes": round(wall / 60, 3), **numbers}
        if not all(math.isfinite(value) for value in numbers.values()):
            raise SystemExit(f"{self.out.stem}: training has diverged: {json.dumps(line)}")
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()
        print(f"{self.out.stem} {100 * self.progress:.0f}% " + json.dumps(line), flush=True)

    def save(self, state: dict[str, Tensor], **about: object) -> None:
        meta = {name: json.dumps(value) for name, value in about.items()}
        meta["steps"] = str(self.number)
        meta["minutes"] = f"{(time.time() - self.begin) / 60:.2f}"
        with atomic_file(self.out) as partial:
            save_file(state, partial, metadata=meta)


def digit_rows(config: SpeechTokenizerConfig, width: int, std: float, seed: int) -> Tensor:
    """Initial embeddings of the speech tokens (tokens, width), built from their FSQ digits: similar tokens have similar embeddings.

    There are thousands of tokens and most are rare; in a randomly initialised table each would have to be learned separately.
    """
    generator = torch.Generator().manual_seed(seed)
    digits = token_digits(torch.arange(config.num_tokens), config)
    rows = digits @ torch.randn(config.dims, width, generator=generator)
    return rows * (std / rows.std()) + 0.1 * std * torch.randn(rows.shape, generator=generator)


def resume(module: nn.Module, path: Path | None) -> None:
    """Load the weights of an earlier run or of a model directory (packed ones too), if a file is given."""
    if path is not None:
        module.load_state_dict(unpack(load_file(path)))
