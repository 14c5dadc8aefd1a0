"""`mamtra serve` at CosyVoice 2's sizes on a GPU, under listeners and under requests at a rate, from the same machine.

    python benchmarks/serve_gpu.py [--servers STEPS:FRONTS:LOADS ...] [--seconds 20] [--tiny] [--out FILE]

Each server has so many steps of the flow and so many front processes (`mamtra serve --front-processes`), and bears loads of so
many listeners or requests a second: `2:4:10/s,256,512`. A model directory with random weights is written for each number of flow
steps: a 1:1 hybrid of CosyVoice 2's language model in bfloat16, its flow (with guidance at 10 steps, a few-step flow at fewer) and
its vocoder, a tokenizer of single characters, and a voice with a prompt of 3 s. Random weights never end by themselves: the end is
the only thing that the model may draw once a text has as many speech tokens as in speech of 15 characters a second, and cannot be
drawn before. The server runs in processes of its own; `mamtra bench serve` loads it from several. Rows are written as they come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record import TINY_FLOW, TINY_VOCODER, apart, benchmark, device_name, environment
from soak import children, free_port, wait_ready

from mamtra.bench.serve import WARM_UP, summary
from mamtra.bench.serve_client import Target, listen
from mamtra.bench.serve_load import Mode, run_load
from mamtra.bench.serve_page import HEADER, SETTLED, load_cells
from mamtra.runtime.results import footnote, markdown_table

if TYPE_CHECKING:
    import torch

GUIDED = 10
"""Steps of the flow with guidance; fewer are those of a few-step flow."""
HISTORY = 100
CHARACTERS = 15
"""A second, in speech."""
TOKENS = 25
"""Speech tokens a second."""
LIMIT = 0.3
"""Seconds until the first audio, in 95 of 100 requests: a live stream."""
GOAL_STREAMS, GOAL_RATE, GOAL_WAIT = 500, 10, 60
"""Goals: live streams, and at so many requests a second so many milliseconds to the first audio in 95 of 100."""
SERVERS = [f"{steps}:4:10/s,1,32,128,256,512" for steps in (2, GUIDED)]
VOICE = "random"
PROMPT_TEXT = 45
"""Characters of what the prompt says."""


def write_directory(directory: Path, device: str, steps: int, tiny: bool) -> None:
    """A model with random weights, and a voice."""
    import torch
    from token2wav_phases import make_voice
    from tokenizers.pre_tokenizers import ByteLevel

    from mamtra.acoustic.flow import Flow, FlowConfig
    from mamtra.acoustic.hift import HiFT, HiFTConfig
    from mamtra.checkpoints.generation_config import GenerationConfig
    from mamtra.checkpoints.native import save_model
    from mamtra.cost.measured_memory import random_lm
    from mamtra.text.bpe import BpeConfig, build_qwen_tokenizer

    torch.manual_seed(0)
    few = {} if steps == GUIDED else {"trained_steps": (steps,), "inference_cfg_rate": 0}
    with torch.device(device):
        lm = random_lm("1:1", torch.device(device), tiny)
        tokens = {"vocab_size": lm.config.num_speech_tokens} if tiny else {}
        flow = Flow(FlowConfig(**few, **(TINY_FLOW if tiny else {}), **tokens))
        vocoder = HiFT(HiFTConfig(**(TINY_VOCODER if tiny else {})))
    lm.llm_decoder.bias[lm.config.eos_id] = 100
    directory.mkdir()
    (directory / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    build_qwen_tokenizer(directory).save(str(directory / "tokenizer.json"))
    # four characters for each subword
    text = BpeConfig(fewest_tokens=240, most_tokens=320, short_tokens=80, longest_tokens=800)
    (directory / "text.json").write_text(text.model_dump_json())
    pace = TOKENS / CHARACTERS
    generation = GenerationConfig(min_ratio=pace, max_ratio=2 * pace, flow_steps=steps, flow_history=HISTORY)
    parts = {"lm": lm, "flow": flow, "vocoder": vocoder}
    save_model(directory, parts, storage={"lm": "bfloat16"}, generation=generation)
    (directory / "voices").mkdir()
    make_voice(lm.config.num_speech_tokens, PROMPT_TEXT).save(directory / "voices" / f"{VOICE}.safetensors")


@contextmanager
def serving(directory: Path, args: argparse.Namespace, device: torch.device, fronts: int) -> Iterator[tuple[str, int]]:
    """Address and process of a warm server."""
    port, dtype = free_port(), "bfloat16" if device.type == "cuda" else "float32"
    options = {
        "port": port, "model": directory, "device": device.type, "dtype": dtype, "streams": args.streams, "waiting": 2048,
        "front-processes": fronts,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    server = subprocess.Popen([sys.executable, "-m", "mamtra", "serve", *words], env=environment(args.threads))
    try:
        wait_ready(f"http://127.0.0.1:{port}/health/ready", server, args.start_seconds)
        yield f"http://127.0.0.1:{port}/v1", server.pid
    finally:
        server.terminate()
        server.wait(60)


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of a process, and of those that it has started, so far."""
    return _seconds(pid), sum(_seconds(child) for child in children(pid))


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used_memory(device: torch.device) -> int | None:
    """Bytes in use on a GPU, with those of its driver."""
    if device.type != "cuda":
        return None
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total - free


def loads(text: str) -> Iterator[tuple[Mode, float]]:
    """In their order."""
    for each in text.split(","):
        yield ("rate", float(each.removesuffix("/s"))) if each.endswith("/s") else ("listeners", int(each))


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, those that were measured so far at each step."""
    from mamtra.runtime.device import pick_device  # what listens starts without torch

    began, device = time.perf_counter(), pick_device(args.device)
    about = {name: getattr(args, name) for name in ("streams", "processes", "seed", "tiny")}
    result: dict[str, Any] = {"device": device_name(device), **about, "servers": [], "rows": []}
    if args.earlier is not None:
        result |= earlier(json.loads(args.earlier.read_text(encoding="utf-8")), result, args)
    with tempfile.TemporaryDirectory() as folder:
        for each in args.servers:
            steps, fronts, wanted = each.split(":")
            directory = Path(folder) / f"model-{steps}"
            if time.perf_counter() - began > args.most_seconds:
                return
            if not directory.exists():
                apart(write_directory, directory, device.type, int(steps), args.tiny)
            for _ in measure_server(result, directory, args, device, int(steps), int(fronts), wanted, began):
                yield result


def earlier(known: dict[str, Any], result: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Servers and rows of an earlier run, of those servers that are not measured again."""
    if any(known[name] != result[name] for name in ("device", "streams", "processes", "seed", "tiny")):
        raise SystemExit(f"{args.earlier} was measured on another device or with other settings.")
    again = {tuple(each.split(":")[:2]) for each in args.servers}
    kept = {
        name: [each for each in known[name] if (str(each["steps"]), str(each["fronts"])) not in again]
        for name in ("servers", "rows")
    }
    for row in kept["rows"]:
        row.setdefault("seconds", known.get("seconds"))
    made = f"`{known['command']}` at {known['commit']} on {known['hardware']['cores']} cores"
    return {**kept, "before": [*known.get("before", []), made]}


def measure_server(
    result: dict[str, Any],
    directory: Path,
    args: argparse.Namespace,
    device: torch.device,
    steps: int,
    fronts: int,
    wanted: str,
    began: float,
) -> Iterator[None]:
    """Add a server and the rows of its loads, one at each step."""
    started, which = time.perf_counter(), {"steps": steps, "fronts": fronts}
    with serving(directory, args, device, fronts) as (url, pid):
        server = {**which, "ready_seconds": time.perf_counter() - started, "bytes": used_memory(device)}
        result["servers"].append(server)
        ask = partial(listen, Target(url, {"voice": VOICE}))
        if not (first := ask(WARM_UP)).good:
            raise SystemExit(f"the server does not speak: {first.error}")
        for mode, amount in loads(wanted):
            if time.perf_counter() - began > args.most_seconds:
                break
            before, clock = cpu_seconds(pid), time.monotonic()
            seconds = args.rate_seconds if mode == "rate" else args.seconds
            heard, wall = run_load(ask, mode, amount, seconds, args.seed, args.processes)
            spent = time.monotonic() - clock
            cores, others = ((now - then) / spent for now, then in zip(cpu_seconds(pid), before, strict=True))
            used = {"cores": cores, "front_cores": others}
            row = {**which, "mode": mode, "amount": amount, "seconds": seconds, **summary(heard, wall), **used}
            server["bytes"] = used_memory(device)
            result["rows"].append(row)
            print(row, file=sys.stderr, flush=True)
            yield


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = [
        [row["steps"], row["fronts"], *load_cells(row), f"{row['cores']:.1f}", f"{row['front_cores']:.1f}",
         f"{row.get('seconds', result.get('seconds')):g}"]
        for row in result["rows"]
    ]  # fmt: skip
    lines = []
    for server in result["servers"]:
        steps, fronts = server["steps"], server["fronts"]
        loads = [row for row in result["rows"] if (row["steps"], row["fronts"]) == (steps, fronts)]
        loads = [row for row in loads if row["mode"] == "listeners"]
        live = [row["amount"] for row in loads if is_live(row)]
        fewest = min((row["amount"] for row in loads), default=0)
        streams = f"{max(live):g} live streams" if live else f"fewer than {fewest:g} live streams"
        streams = streams if loads else "no listeners"
        memory = "" if server["bytes"] is None else f", {server['bytes'] / 2**30:.1f} GiB of the GPU in use at the end"
        lines.append(
            f"- {steps} steps, {fronts} front processes: {streams}, of the loads above; ready after "
            f"{server['ready_seconds']:.0f} s{memory}."
        )
    return "\n\n".join([
        "# A speech server on a GPU",
        f"`mamtra serve` on {result['device']} with random weights of CosyVoice 2's size: a 1:1 hybrid in bfloat16, the flow with "
        f"10 steps and guidance or as a few-step flow, a history of {HISTORY} frames, {result['streams']} streams at most. Texts "
        f"are one, two or four plain sentences, spoken at {CHARACTERS} characters a second. A listener plays an answer from its "
        "first sample on and then asks for the next one; requests/s arrive at random moments. An answer has a gap where a listener "
        f"would have run out of audio. {SETTLED}"
        f"From {result['processes']} processes on this machine, seed {result['seed']}.",
        markdown_table(
            ["flow steps", "front processes", *HEADER, "cores in use by the process with the model", "by front processes",
             "seconds of the load"],
            rows,
        ),
        f"Live streams are listeners of whom 95 of 100 requests have their first audio within {1000 * LIMIT:g} ms, without errors, "
        "and no more than one answer of 100 has a gap:",
        "\n".join(lines),
        "## Goals",
        markdown_table(["figure", "reached", "goal"], goals(result["rows"])),
        "## How it was measured",
        footnote(result),
        *([f"The first rows were made in the same way by {' and '.join(before)}."] if (before := result.get("before")) else []),
    ]) + "\n"  # fmt: skip


def goals(rows: list[dict[str, Any]]) -> list[list[str]]:
    """What the best server reached, beside its goal."""
    live = [row["amount"] for row in rows if row["mode"] == "listeners" and is_live(row)]
    waits = [1000 * row["first_audio"]["p95"] for row in rows if (row["mode"], row["amount"]) == ("rate", GOAL_RATE)]
    first = f"first audio p95 at {GOAL_RATE} requests/s, ms"
    return [
        ["live streams", f"{max(live, default=0):g}", f"{GOAL_STREAMS}"],
        [first, f"{min(waits):.0f}" if waits else "-", f"{GOAL_WAIT}"],
    ]


def is_live(row: dict[str, Any]) -> bool:
    """Whether a load was borne."""
    first = row["first_audio"]
    return first is not None and first["p95"] < LIMIT and not row["errors"] and row["with_gaps"] <= row["good"] / 100


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="CUDA where there is one, else the CPU")
    parser.add_argument("--servers", nargs="+", default=SERVERS, metavar="STEPS:FRONTS:LOADS")
    parser.add_argument(
        "--earlier", type=Path, metavar="JSON", help="results of an earlier run, whose other servers are kept"
    )
    parser.add_argument("--seconds", type=float, default=20, help="of each load with listeners")
    parser.add_argument("--rate-seconds", type=float, default=20, help="of each load with requests a second")
    parser.add_argument("--most-seconds", type=float, default=1200, help="no load begins later")
    parser.add_argument("--start-seconds", type=float, default=300, help="a server has to be ready within")
    parser.add_argument("--streams", type=int, default=640)
    parser.add_argument("--processes", type=int, default=8, help="that listen")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="thin layers, to try it")


if __name__ == "__main__":
    benchmark("serve_gpu", __doc__, measure, render, options, None)
