"""Speed of distillation: this package's step against a plain loop over transformers' modules, in the same run.

    python benchmarks/distill_speed.py [--seconds 60] [--tokens 40000] [--length 512] [--ratio 1:1] [--device cuda]
        [--no-compile] [--no-cuda-graph] [--kernels] [--residual bf16] [--tiny] [--out docs/results/distill_speed.json]

Sizes are those of CosyVoice 2 (24 layers of 896, 14 heads on 2), weights and tokens random. Both minimise the same three
losses (cross entropy, skew KL, squared error of the last hidden states) from the same teacher shape, with Adam, bfloat16
products over float32 weights, and one clipped step a micro-batch.

``mamtra`` is `mamtra.distill`: layers compiled, the step in a CUDA graph, logits in chunks. ``plain`` is a
straightforward loop: `transformers.Qwen2Model` for teacher and student, the mixers of the Mamba layers in place of
attention, with transformers' own scan without kernels, all logits at once, torch.optim.Adam, nothing compiled; where
the batch does not fit into memory, gradients of 2, 4, 8 ... parts of it are accumulated (`parts`).

Utilisation counts the products that a step needs (forward of the teacher; forward and twice that backward of the student;
causal scores; the scan in chunks of 64; nothing for recomputation) against the data sheet's dense bfloat16 peak where the
device is known, else against one large matrix product measured here. The two backends take turns in halves of the time.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from record import benchmark, device_name
from torch import Tensor, nn

from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.cost.flops import FlopConvention, prefill_flops
from mamtra.cost.presets import cosyvoice2_config, tiny_config
from mamtra.cost.shapes import blueprint_of
from mamtra.distill.compile import Captured, compile_layers, enable_triton
from mamtra.distill.distill_loss import DistillLossFunction, cast_linear_weights_to_bf16
from mamtra.distill.dry_run import product_speed
from mamtra.distill.losses import DistillLossConfig, distill_loss
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.settings import OptimizerSettings
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import PAD, unistream
from mamtra.models.plan import LayerPlan
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.ssd import repeat_heads
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import markdown_table, page

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12}
"""Dense bfloat16 operations a second by the data sheets (SXM where there are several)."""
WARM = 3
LOSSES = DistillLossConfig()
LR = 1e-5


class PlainLM(nn.Module):
    """A speech LM around `transformers.Qwen2Model`; layers of the kind "linear_attention" have this package's mixer."""

    def __init__(self, source: SpeechLM) -> None:
        from transformers import Qwen2Config, Qwen2Model

        super().__init__()
        config = source.config
        sizes = {name: getattr(config, name) for name in (
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "rms_norm_eps",
        )}  # fmt: skip
        rope = {"rope_type": "default", "rope_theta": config.rope_theta}
        settings = Qwen2Config(
            **sizes, head_dim=config.head_dim, vocab_size=config.text_vocab_size, rope_parameters=rope
        )
        settings._attn_implementation = "sdpa"
        self.config = config
        self.model = Qwen2Model(settings)
        for i in config.plan.mamba_layers:
            self.model.layers[i].self_attn = PlainMixer(source.model.layers[i].mamba, config)
        weights = source.state_dict()
        self.tables = nn.ModuleList([source.llm_embedding, source.speech_embedding])
        self.head = source.llm_decoder
        own = {n.removeprefix("model."): w for n, w in weights.items() if n.startswith("model.")}
        own = {n.replace(".mamba.", ".self_attn.mixer."): w for n, w in own.items()}
        self.model.load_state_dict(own, strict=True)

    def forward(self, kind: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states and logits."""
        text, speech = kind == 2, kind == 3
        marks, codes = self.tables
        embedded = torch.where(
            text[..., None], self.model.embed_tokens(ids.masked_fill(~text, 0)), codes(ids.masked_fill(~speech, 0))
        )
        special = ~(text | speech)
        embedded = torch.where(special[..., None], marks(ids.masked_fill(~special, 0).clamp(0, 1)), embedded)
        hidden = self.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden, self.head(hidden)


class PlainMixer(nn.Module):
    """A mixer with the signature of transformers' attention."""

    def __init__(self, mixer: nn.Module, config: SpeechLMConfig) -> None:
        super().__init__()
        self.mixer, self.config = mixer, config

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """(B, L, hidden_size) to the same shape."""
        return self.mixer(
            hidden_states, Positions.from_zero(hidden_states.shape[1], self.config, hidden_states.device)
        ), None


def fallback_ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, *_: Any, chunk_size: int = 64, **__: Any
):
    """transformers' scan without kernels, in the place of `mamtra.ops.ssd.ssd`."""
    from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

    x, B = (repeat_heads(t, C.shape[2]) for t in (x, B))
    with torch.autocast(x.device.type, enabled=False):
        y = mamba2_chunk_scan(x, dt, A, B, C, chunk_size, D=D)
    y = y[0] if isinstance(y, tuple) else y
    return y.view(x.shape).to(x.dtype), None


def build(config: SpeechLMConfig, ratio: str, device: torch.device) -> tuple[SpeechLM, SpeechLM]:
    """A randomly initialised teacher and its student."""
    teacher = SpeechLM(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    student, _ = convert_attention_to_mamba(teacher, LayerPlan.from_ratio(config.num_hidden_layers, ratio))
    return teacher.to(device), student.to(device).train()


def batch_of(config: SpeechLMConfig, tokens: int, length: int) -> dict[str, Tensor]:
    """Rows of the unistream layout without padding, one text id for eight positions."""
    rows, texts = max(1, tokens // length), max(1, length // 8)
    draw = torch.Generator().manual_seed(1)
    text = torch.randint(1, config.text_vocab_size, (rows, texts), generator=draw)
    speech = torch.randint(0, config.num_speech_tokens, (rows, length - texts - 2), generator=draw)
    batch = unistream(list(text), list(speech), eos_id=config.eos_id)
    return {"kind": batch.kind, "ids": batch.ids, "targets": batch.targets}


def our_step(args: argparse.Namespace, config: SpeechLMConfig, device: torch.device) -> Callable[[], Tensor]:
    """One training step of this package, on a fixed batch."""
    gradients, update, total, _ = make_step(args, config, device)

    def step() -> Tensor:
        gradients()
        update()
        return total

    return step


def make_step(
    args: argparse.Namespace, config: SpeechLMConfig, device: torch.device
) -> tuple[Callable[[], None], Callable[[], None], Tensor, Tensor]:
    """The two halves of a step, its loss and the flat gradient that the first half adds to and the second uses up."""
    teacher, student = build(config, args.ratio, device)
    half = "bf16" if args.precision == "bf16" else "float32"
    if half == "bf16":
        cast_linear_weights_to_bf16(teacher)
    optimiser = Optimiser(student, OptimizerSettings(lr=LR))
    objective = DistillLossFunction(
        student, teacher, LOSSES, precision=half, residual=args.residual, chunk=args.loss_chunk, compiled=args.compile
    )
    student.model.checkpointing = args.gradient_checkpointing
    if args.kernels:
        for lm in (student, teacher):
            enable_triton(lm, device)
    if args.compile:
        compile_layers(student, teacher)
    total = torch.zeros((), device=device)

    def add(kind: Tensor, ids: Tensor, targets: Tensor) -> None:
        loss = objective(kind, ids, targets)
        loss.total.backward()
        total.copy_(loss.total.detach())

    batch = batch_of(config, args.tokens, args.length)
    micro, update = (Captured(f, device, graphs=args.cuda_graph) for f in (add, optimiser.update))
    micro.capture(**batch)
    optimiser.failed_at.zero_()
    update.capture()
    optimiser.gradient.zero_()
    optimiser.failed_at.fill_(-1)

    return lambda: micro(**batch), update, total, optimiser.gradient


def plain_step(
    args: argparse.Namespace, config: SpeechLMConfig, device: torch.device, parts: int = 1
) -> Callable[[], Tensor]:
    """One step of the plain loop, on the same batch, in so many parts whose gradients are summed up."""
    teacher, student = (PlainLM(lm).to(device) for lm in build(config, args.ratio, device))
    teacher.eval().requires_grad_(False)
    student.train().requires_grad_(True)
    adam = torch.optim.Adam(student.parameters(), lr=LR)
    batch = batch_of(config, args.tokens, args.length)

    pieces = [
        dict(zip(batch, rows, strict=True)) for rows in zip(*(b.chunk(parts) for b in batch.values()), strict=True)
    ]

    def step() -> Tensor:
        adam.zero_grad()
        total = torch.zeros((), device=device)
        for piece in pieces:
            kind, ids, targets = (piece[name].to(device) for name in ("kind", "ids", "targets"))
            with (
                patch("mamtra.ops.mixer.ssd", fallback_ssd),
                torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"),
            ):
                with torch.no_grad():
                    aim, wanted = teacher(kind, ids)
                hidden, logits = student(kind, ids)
                loss = distill_loss(
                    LOSSES, student_logits=logits, teacher_logits=wanted, targets=targets, student_emb=[hidden],
                    teacher_emb=[aim], emb_valid=kind != PAD,
                )  # fmt: skip
            weight = len(kind) / len(batch["kind"])
            (loss.total * weight).backward()
            total += loss.total.detach() * weight
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        adam.step()
        return total

    return step


def measure_loop(make: Callable[[], Callable[[], Tensor]], seconds: float, device: torch.device) -> dict[str, Any]:
    """Steps for about so many seconds, after the first few; peak memory and seconds of each."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    try:
        step = make()
        losses = [float(step()) for _ in range(WARM)]
        start = time.perf_counter()
        times: list[float] = []
        while time.perf_counter() - start < seconds or len(times) < 2:
            at = time.perf_counter()
            loss = float(step())  # waits for the device
            times.append(time.perf_counter() - at)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    found = {"seconds": times, "peak_bytes": peak, "ready_after": start - began, "losses": [*losses, loss]}
    return found


def step_flops(config: SpeechLMConfig, ratio: str, rows: int, length: int) -> int:
    """Operations that one step needs."""
    plan = LayerPlan.from_ratio(config.num_hidden_layers, ratio)
    convention = FlopConvention(scores="causal", head="all", scan="chunks")
    blueprint = blueprint_of(config, "")
    teacher = prefill_flops(blueprint, LayerPlan.from_ratio(config.num_hidden_layers, "1:0"), length, convention, rows)
    return teacher.total + 3 * prefill_flops(blueprint, plan, length, convention, rows).total


def summarise(found: dict[str, Any], positions: int, flops: int, peak: float) -> dict[str, Any]:
    """Medians over the steps."""
    if "failed" in found:
        return found
    middle = statistics.median(found["seconds"])
    return {
        "steps": len(found["seconds"]),
        "seconds_a_step": middle,
        "slowest": max(found["seconds"]),
        "fastest": min(found["seconds"]),
        "tokens_per_second": positions / middle,
        "utilisation": flops / middle / peak,
        "peak_bytes": found["peak_bytes"],
        "ready_after": found["ready_after"],
        "losses": found["losses"],
    }


def render(result: dict[str, Any]) -> str:
    """The page, in Markdown."""
    rows = []
    for name, loop in result["loops"].items():
        if "failed" in loop:
            rows.append((name, loop["failed"], "", "", "", ""))
            continue
        memory = "-" if loop["peak_bytes"] is None else f"{loop['peak_bytes'] / 2**30:.1f}"
        speed, used = f"{loop['tokens_per_second']:,.0f}", f"{100 * loop['utilisation']:.1f}%"
        name += f", in {loop['parts']} parts" if loop.get("parts", 1) > 1 else ""
        rows.append((name, show_step(loop), speed, used, memory, f"{loop['ready_after']:.0f}"))
    ratio = result["speedup"]
    return page(
        result,
        "# Speed of distillation",
        f"{result['rows']} rows of {result['length']} positions a step, ratio {result['ratio']}, {result['precision']}, on "
        f"{result['device']}; {result['step_flops'] / 1e12:.3g} TFLOP a step, utilisation of {result['peak'] / 1e12:.4g} TFLOP/s "
        f"({result['peak_from']}). Median step (fastest to slowest)."
        + ("" if ratio is None else f" This package is {ratio:.2f} times as fast."),
        markdown_table(("loop", "ms a step", "positions a second", "utilisation", "peak memory, GiB", "s to the first step"), rows),
        *filter(None, [result.get("note")]),
    )  # fmt: skip


def show_step(found: dict[str, Any]) -> str:
    """Milliseconds of a step."""
    return f"{1e3 * found['seconds_a_step']:.1f} ({1e3 * found['fastest']:.1f} to {1e3 * found['slowest']:.1f})"


def add_step_options(parser: argparse.ArgumentParser) -> None:
    """What `make_step` reads of the command line."""
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--ratio", default="1:1")
    parser.add_argument("--device")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--residual", choices=("bf16", "float32"), default="float32")
    parser.add_argument("--loss-chunk", type=int, default=8192)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--kernels", action="store_true", help="convolution, scan and norm of Mamba layers as Triton kernels"
    )
    parser.add_argument("--tiny", action="store_true", help="a model of four thin layers")


def step_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options, for the record."""
    return {key: value for key, value in vars(args).items() if key not in ("out", "device", "render")}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="of steps, both loops together")
    add_step_options(parser)
    parser.add_argument(
        "--plain", action=argparse.BooleanOptionalAction, default=True, help="measure the plain loop too"
    )


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Both loops."""
    device = pick_device(args.device)
    config = tiny_config() if args.tiny else cosyvoice2_config()
    rows = max(1, args.tokens // args.length)
    flops = step_flops(config, args.ratio, rows, args.length)
    name = device_name(device)
    known = next((speed for part, speed in PEAKS.items() if part in name), None) if args.precision == "bf16" else None
    peak = known or product_speed(device, args.precision)
    loops = {}

    def take(loop: str, make: Callable[[], Callable[[], Tensor]], **more: Any) -> bool:
        found = measure_loop(make, args.seconds / (1 + args.plain), device)
        loops[loop] = summarise(found, rows * args.length, flops, peak) | more
        print(loop, loops[loop], file=sys.stderr, flush=True)
        return "failed" not in found

    take("mamtra", lambda: our_step(args, config, device))
    parts = 1
    while (
        args.plain
        and not take("plain", lambda n=parts: plain_step(args, config, device, n), parts=parts)
        and parts < rows
    ):
        parts *= 2  # what does not fit is summed up from smaller parts
    both = len(loops) == 2 and not any("failed" in loop for loop in loops.values())
    yield {
        **step_options(args), "device": name, "rows": rows, "step_flops": flops, "peak": peak,
        "peak_from": "data sheet" if known else "a matrix product measured here",
        "speedup": loops["plain"]["seconds_a_step"] / loops["mamtra"]["seconds_a_step"] if both else None,
        "loops": loops,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    benchmark("distill_speed", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
