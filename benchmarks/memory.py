"""Memory by component at CosyVoice 2's sizes: weights, decode states, the flow's cache, and peaks of computing.

    python benchmarks/memory.py [--device cuda] [--seconds 60] [--out docs/results/memory.json] [--streams 1,64] [--tiny]

For all attention and the hybrids 1:1, 1:5 and 1:11, in float32 and bfloat16 (vocoder and recurrent states are float32 in both): the
bytes of all tensors, computed on the meta device, and on CUDA those that PyTorch's allocator reports. Each stream has a context of
30 s of speech, 100 text ids and two special tokens. ``a decode step`` is one step of all streams, ``10 s of sound`` flow and
vocoder of one utterance with a prompt of 3 s: the peak allocation above that before it. ``flow cache`` is what one such utterance
keeps while it is streamed. On a CPU it is the growth of the process's resident size by weights and state. Weights are randomly
initialised. Results are written after each row.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from record import TINY_FLOW, TINY_VOCODER, benchmark, device_name
from torch import nn

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.checkpoints.strict_loading import build_uninitialised
from mamtra.cost.memory import CacheTypes, kv_bytes_per_token, state_bytes
from mamtra.cost.presets import cosyvoice2_config, tiny_config
from mamtra.cost.shapes import blueprint_of
from mamtra.models.config import SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import footnote, markdown_table

RATIOS = ("1:0", "1:1", "1:5", "1:11")
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
CONTEXT = 30 * 25 + 100 + 2
PROMPT, TOKENS = 75, 250
WEIGHTS = ("layers", "text table", "speech tables and head", "flow", "vocoder")


def config_of(ratio: str, tiny: bool) -> SpeechLMConfig:
    base = tiny_config(layers=12) if tiny else cosyvoice2_config()
    return base.model_copy(update={"layer_types": LayerPlan.from_ratio(base.num_hidden_layers, ratio).layer_types})


def networks(config: SpeechLMConfig, dtype: torch.dtype, tiny: bool, device: torch.device) -> dict[str, nn.Module]:
    """LM, flow and vocoder; on real devices every weight is small and finite."""
    with torch.device(device):
        made = {
            "lm": build_uninitialised(lambda: SpeechLM(config)).to(dtype),
            "flow": build_uninitialised(lambda: Flow(FlowConfig(**(TINY_FLOW if tiny else {})))).to(dtype),
            "vocoder": build_uninitialised(lambda: HiFT(HiFTConfig(**(TINY_VOCODER if tiny else {})))),
        }
    made["vocoder"].remove_weight_norm()
    for module in made.values():
        module.eval().requires_grad_(False)
        for parameter in module.parameters():
            parameter.fill_(0.01)
    return made


def parts_of(nets: dict[str, nn.Module]) -> dict[str, list[torch.Tensor]]:
    """Tensors by component of the weights."""
    lm = nets["lm"]
    named = dict(lm.named_parameters())
    text = [p for name, p in named.items() if name.startswith("model.embed_tokens")]
    layers = [p for name, p in named.items() if name.startswith("model.") and "embed_tokens" not in name]
    tables = [p for name, p in named.items() if not name.startswith("model.")]
    others = (list(nets[name].state_dict().values()) for name in ("flow", "vocoder"))
    return dict(zip(WEIGHTS, (layers, text, tables, *others), strict=True))


def size(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def flow_cache_bytes(config: FlowConfig, frames: int, dtype: torch.dtype, steps: int = 10) -> int:
    """Keys and values of the flow's attention for so many frames: encoder, and estimator with guidance at every step."""
    layers = config.estimator_n_blocks * (config.estimator_mid_blocks + 2)
    estimator = steps * 2 * layers * 2 * config.estimator_heads * config.estimator_head_dim * frames
    blocks = config.encoder_blocks * frames // config.token_mel_ratio + config.encoder_up_blocks * frames
    return (estimator + blocks * 2 * config.input_size) * dtype.itemsize


def computed(ratio: str, kind: str, streams: int, tiny: bool) -> dict[str, int]:
    """Bytes of the weights, counted on the meta device, and of states and caches by the formulas of `mamtra.cost`."""
    config, dtype = config_of(ratio, tiny), TYPES[kind]
    nets = networks(config, dtype, tiny, torch.device("meta"))
    found = {name: size(tensors) for name, tensors in parts_of(nets).items()}
    blueprint, types = blueprint_of(config, ratio), CacheTypes(cache=kind, state="float32")
    found["keys and values"] = streams * CONTEXT * kv_bytes_per_token(blueprint, config.plan, types)
    found["Mamba states"] = streams * state_bytes(blueprint, config.plan, types)
    frames = nets["flow"].config.token_mel_ratio * (PROMPT + TOKENS)
    found["flow cache"] = flow_cache_bytes(nets["flow"].config, frames, dtype)
    return found


class Meter:
    """Bytes that CUDA's allocator has given since the last reading."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.before, self.top = device, 0, 0
        self.since()

    def since(self) -> int:
        torch.cuda.synchronize(self.device)
        before, self.before = self.before, torch.cuda.memory_allocated(self.device)
        return self.before - before

    def peak(self, work: Callable[[], Any]) -> int:
        """Peak allocation during the work above that before it."""
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        torch.cuda.synchronize(self.device)
        top = torch.cuda.max_memory_allocated(self.device)
        self.top = max(self.top, top)
        return top - before


@torch.inference_mode()
def measured(ratio: str, kind: str, streams: int, tiny: bool, device: torch.device) -> dict[str, int]:
    """Bytes of each component as the allocator reports them."""
    config, dtype = config_of(ratio, tiny), TYPES[kind]
    gc.collect()
    torch.cuda.empty_cache()
    meter = Meter(device)
    start = meter.before
    nets = networks(config, dtype, tiny, device)
    gc.collect()
    found = {"weights, all": meter.since()}
    state = nets["lm"].init_state(streams, CONTEXT + 1)
    found["state, all"] = meter.since()
    state.length = CONTEXT
    x = torch.zeros(streams, config.hidden_size, device=device, dtype=dtype)
    found["a decode step"] = meter.peak(lambda: nets["lm"].next_logits(x, state))
    flow, vocoder = nets["flow"], nets["vocoder"]
    token = torch.zeros(1, TOKENS, dtype=torch.int64, device=device)
    ratio_ = flow.config.token_mel_ratio
    prompt = (
        torch.zeros(1, PROMPT, dtype=torch.int64, device=device),
        torch.zeros(1, ratio_ * PROMPT, flow.config.output_size, device=device),
        torch.ones(1, flow.config.spk_embed_dim, device=device),
    )
    found["10 s of sound"] = meter.peak(lambda: vocoder.inference(flow.inference(token, *prompt)))
    if streams == 1:
        stream = FlowStream(flow, *prompt)
        meter.since()
        stream.push(token)
        stream.push(token[:, :0], final=True)
        found["flow cache"] = meter.since()
    found["reserved"] = torch.cuda.memory_reserved(device)
    found["peak above the start"] = meter.top - start
    return found


def resident() -> int | None:
    """Resident bytes of this process; None if the system does not report them."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(line for line in path.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def resident_of(ratio: str, kind: str, streams: int, tiny: bool) -> int | None:
    """Growth of the resident size by weights and state."""
    gc.collect()
    before = resident()
    nets = networks(config_of(ratio, tiny), TYPES[kind], tiny, torch.device("cpu"))
    state = nets["lm"].init_state(streams, CONTEXT)
    for layer in state.layers:
        for tensor in vars(layer).values():
            tensor.fill_(0)
    after = resident()
    return None if before is None or after is None else after - before


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    names = (*WEIGHTS, "keys and values", "Mamba states", "flow cache")

    def mib(value: int | None) -> str:
        return "-" if value is None else f"{value / 2**20:,.1f}"

    sums, found_rows, base = [], [], {}
    for row in result["rows"]:
        bytes_, about = row["computed"], (row["precision"], row["streams"], row["ratio"])
        total = sum(bytes_[name] for name in names if name != "flow cache")
        base.setdefault(about[:2], total)
        sums.append(
            (*about, *(mib(bytes_[name]) for name in names), mib(total), f"{100 * total / base[about[:2]] - 100:+.1f}%")
        )
        if "failed" in row:
            found_rows.append((*about, row["failed"]))
        elif row.get("measured"):
            found = row["measured"]
            found_rows.append((*about, *(mib(found.get(name)) for name in MEASURED)))
        elif row.get("resident") is not None:
            found_rows.append((*about, mib(row["resident"])))
    header = ("precision", "streams", "ratio")
    parts = [
        "# Memory by component",
        f"{'Tiny' if result['tiny'] else 'CosyVoice 2'} sizes, MiB. Context of a stream: {CONTEXT} positions, 30 s of speech "
        "in it. Ratios are attention to Mamba layers. `all` is without the flow cache, which only a sentence that is being "
        "streamed has; the last column compares it with all attention. The reference implementation also loads a head over text "
        "of the size of the text table, which this package does not need. "
        f"The flow cache is of {TOKENS // 25} s behind a prompt of {PROMPT // 25} s.",
        markdown_table((*header, *names, "all", "against 1:0"), sums),
    ]  # fmt: skip
    if found_rows:
        titles = MEASURED if result["device"] != "CPU" else ("resident",)
        parts += [f"## Measured on {result['device']}", markdown_table((*header, *titles), found_rows)]
    left = result["planned"] - len(result["rows"])
    if left:
        parts.append(f"{left} of {result['planned']} rows were left out: they did not fit into `--seconds`.")
    return "\n\n".join([*parts, "## How it was measured", footnote(result)]) + "\n"


MEASURED = (
    "weights, all", "state, all", "a decode step", "10 s of sound", "flow cache", "reserved", "peak above the start",
)  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rows; the last one begun is finished")
    parser.add_argument("--streams", default="1,64")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the script")


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, those that were measured so far at each step."""
    began, device = time.perf_counter(), pick_device(args.device)
    plan = [(k, int(n), r) for k in TYPES for n in args.streams.split(",") for r in RATIOS]
    result = {"device": device_name(device), "tiny": args.tiny, "planned": len(plan), "rows": []}
    for kind, streams, ratio in plan:
        if time.perf_counter() - began > args.seconds:
            break
        row: dict[str, Any] = {"precision": kind, "streams": streams, "ratio": ratio}
        row["computed"] = computed(ratio, kind, streams, args.tiny)
        try:
            if device.type == "cuda":
                row["measured"] = measured(ratio, kind, streams, args.tiny, device)
            else:
                row["resident"] = resident_of(ratio, kind, streams, args.tiny)
        except RuntimeError as error:  # out of memory too: the other rows are still worth having
            row["failed"] = str(error).splitlines()[0][:200]
        result["rows"].append(row)
        print(row, file=sys.stderr, flush=True)
        yield result


def main(argv: list[str] | None = None) -> None:
    benchmark("memory", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
