"""`mamtra distill`: train a hybrid student on the outputs of its Transformer teacher."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mamtra.cli.options import refuse_ignored
from mamtra.cli.tell import LONGEST, tell
from mamtra.runtime.printable import printable

if TYPE_CHECKING:
    from mamtra.distill.setup import Setup
    from mamtra.distill.trainer import Observer


_CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("distill", epilog="Example: mamtra distill distill.yaml optimizer.lr=2e-5 run.epochs=15 --dry-run")(
        distill
    )


def distill(
    ctx: typer.Context,
    config: Path = typer.Argument(metavar="CONFIG.yaml", help="Settings; see docs/distill.md."),
    changes: list[str] = typer.Argument(None, metavar="[key=value ...]", help="Changes, such as optimizer.lr=2e-5."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the latest checkpoint, if there is one."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print parameters, memory, steps and time."),
    whisper: str | None = typer.Option(
        None, metavar="DIR|NAME", help="At every validation synthesise sentences and transcribe them with this Whisper."
    ),
    sentences: Path | None = typer.Option(
        None, metavar="FILE", help="Sentences to synthesise, one a line; a built-in list by default."
    ),
    voice: str | None = typer.Option(None, metavar="NAME", help="Voice of the synthesis."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON; nothing on standard error."),
) -> None:
    """Train the student that CONFIG.yaml describes. Several processes: torchrun --nproc-per-node N -m mamtra distill ..."""
    if whisper is None:
        refuse_ignored(ctx, "without --whisper", "sentences", "voice")
    if dry_run:
        refuse_ignored(ctx, "with --dry-run, which trains nothing", "resume", "whisper")
    from mamtra.distill.config import read_config

    settings = read_config(config, changes or ())
    if dry_run:
        from mamtra.distill.dry_run import estimate

        facts = estimate(settings)
        print(json.dumps(facts) if as_json else _page(facts))
        return
    from mamtra.distill.api import distill as train

    make_observer = None
    if whisper is not None:
        from mamtra.cli.training_listener import make_listener

        make = make_listener(whisper, sentences, voice)

        def make_observer(setup: Setup) -> Observer:
            return make(setup.initial.directory, setup.processes.device)

    if not as_json and sys.stderr.isatty():
        tell("Opening models and corpus.")
    follow(partial(train, settings, resume=resume, make_observer=make_observer), Path(settings.out), as_json)


def follow(train: Callable[..., Any], out: Path, as_json: bool) -> None:
    """Train with the progress on standard error, and print what was made; Ctrl-C tells what is kept in `out`."""
    from mamtra.distill.checkpoints import checkpoints

    progress = {} if as_json else {"listener": show_line, "ticker": tick if sys.stderr.isatty() else None}
    try:
        done = train(**progress)
    except KeyboardInterrupt:
        found = checkpoints(out)
        nothing = "No step was finished, so nothing is kept; start again."
        tell(f"mamtra: {found[-1]} is saved; go on with --resume." if found else f"mamtra: {nothing}")
        raise
    if done.report is None:  # not the first of several processes
        return
    if as_json:
        print(json.dumps({**vars(done), "student": str(done.student), "report": str(done.report)}))
    else:
        print(printable(f"{done.student} is ready; the curves are in {done.report}", LONGEST))


def show_line(line: dict[str, Any]) -> None:
    """Print a line of a training's log, or a note, on standard error."""
    if line["kind"] == "note":
        print(f"{_CLEAR}{line['text']}", file=sys.stderr)
        return
    values = [f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}" for name, value in line.items()]
    print("".join((_CLEAR, f"{line['kind']} {line['step']}: ", "  ".join(values[2:] or values))), file=sys.stderr)


def tick(step: int, steps: int) -> None:
    """Print the progress of a training on standard error."""
    print(f"{_CLEAR}step {step:,} of {steps:,}", end="", file=sys.stderr, flush=True)


def _page(facts: dict[str, Any]) -> str:
    memory = facts["memory_bytes"]
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in memory.items() if name != "total")
    return "\n".join([
        f"teacher    {facts['teacher_parameters']:,} parameters",
        f"student    {facts['student_parameters']:,} parameters, {facts['trained_parameters']:,} of them trained, "
        f"Mamba layers {facts['mamba_layers']}",
        f"corpus     {facts['utterances']:,} utterances, {facts['speech_tokens']:,} speech tokens; "
        f"{facts['left_out']} left out; {facts['micro_batches_per_epoch']:,} micro-batches an epoch",
        f"steps      {facts['steps']:,} ({facts['epochs']:g} epochs), {facts['step_flops'] / 1e12:.3g} TFLOP each",
        f"memory     {memory['total'] / 1e9:.2f} GB: {parts}",
        f"time       about {facts['hours']:g} h on {facts['device']} at "
        f"{facts['assumed_flops_per_second'] / 1e12:.3g} TFLOP/s",
        "Nothing was trained.",
    ])  # fmt: skip
