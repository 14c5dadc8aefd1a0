"""How distillation scales over the GPUs of one machine: every process takes 40,000 positions, gradients are summed once a step.

    torchrun --nproc-per-node 2 benchmarks/distill_scaling.py [--seconds 20] [--kernels] [--tiny]
        [--out docs/results/distill_scaling.json]

The step is that of benchmarks/distill_speed.py (CosyVoice 2 sizes, random weights). ``alone`` is the first process while the
others wait, without a sum; ``together`` all of them, with the sum of the one flat float32 gradient by NCCL (gloo on CPUs)
between the captured backward pass and the captured update, as `mamtra.distill.trainer` does. Efficiency is the positions a
second of all processes over those of one times their number.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from distill_speed import WARM, add_step_options, make_step, show_step, step_options
from record import benchmark, device_name

from mamtra.cost.presets import cosyvoice2_config, tiny_config
from mamtra.distill.distributed import Processes
from mamtra.runtime.results import markdown_table, page


def timed(step: Callable[[], Any], seconds: float, processes: Processes | None) -> list[float]:
    """Seconds of each step; all processes take equally many."""
    for _ in range(WARM):
        float(step())
    times: list[float] = []
    start = time.perf_counter()
    while True:
        at = time.perf_counter()
        float(step())  # waits for the device
        times.append(time.perf_counter() - at)
        over = len(times) >= 3 and time.perf_counter() - start > seconds
        if processes.agree(over) if processes else over:
            return times


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    rows = [
        (name, phase["processes"], show_step(phase), f"{phase['positions_a_second']:,.0f}", phase["steps"])
        for name, phase in result["phases"].items()
    ]  # fmt: skip
    return page(
        result,
        "# Distillation on several GPUs",
        f"{result['positions']:,} positions a step and process, ratio {result['ratio']}, {result['precision']}, on "
        f"{result['processes']} x {result['device']}; {result['gradient_bytes'] / 2**30:.2f} GiB of gradients are summed "
        "each step. Efficiency: "
        f"**{result['efficiency']:.3f}**.",
        markdown_table(("", "processes", "ms a step (fastest to slowest)", "positions a second", "steps"), rows),
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=20.0, help="of steps, alone and together")
    add_step_options(parser)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Both phases; only the first process has a result."""
    processes = Processes.join(args.device)
    device = processes.device
    config = tiny_config() if args.tiny else cosyvoice2_config()
    gradients, update, total, flat = make_step(args, config, device)

    def alone() -> torch.Tensor:
        gradients()
        update()
        return total

    def together() -> torch.Tensor:
        gradients()
        processes.add(flat)
        update()
        return total

    positions = max(1, args.tokens // args.length) * args.length
    found = {"alone": timed(alone, args.seconds / 2, None) if processes.first else []}
    processes.wait()
    found["together"] = timed(together, args.seconds / 2, processes)
    if processes.first:
        phases = {}
        for name, times in found.items():
            count, middle = (1, processes.world)[name == "together"], statistics.median(times)
            phases[name] = {
                "processes": count, "steps": len(times), "seconds_a_step": middle, "fastest": min(times), "slowest": max(times),
                "positions_a_second": count * positions / middle,
            }  # fmt: skip
        speed = {name: phase["positions_a_second"] for name, phase in phases.items()}
        yield {
            **step_options(args), "device": device_name(device), "processes": processes.world, "positions": positions,
            "gradient_bytes": flat.nbytes, "phases": phases,
            "efficiency": speed["together"] / (processes.world * speed["alone"]),
        }  # fmt: skip
    processes.wait()
    processes.leave()


def main(argv: list[str] | None = None) -> None:
    benchmark("distill_scaling", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
