"""`mamtra distill`: a hybrid student learns from its Transformer teacher."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("distill", epilog="Example: mamtra distill distill.yaml optimizer.lr=2e-5 run.epochs=15 --dry-run")(
        distill
    )


def distill(
    config: Path = typer.Argument(metavar="CONFIG.yaml", help="Settings; see docs/distill.md."),
    changes: list[str] = typer.Argument(None, metavar="[key=value ...]", help="Changes, such as optimizer.lr=2e-5."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the latest checkpoint, if there is one."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only tell parameters, memory, steps and time."),
    whisper: str | None = typer.Option(
        None,
        "--whisper",
        metavar="DIR|NAME",
        help="At evaluations the student speaks and this Whisper listens.",
    ),
    sentences: Path | None = typer.Option(
        None, "--sentences", metavar="FILE", help="What it says, one sentence a line; a built-in list by default."
    ),
    voice: str | None = typer.Option(None, "--voice", metavar="NAME", help="Voice that it speaks with."),
    as_json: bool = typer.Option(False, "--json", help="Print what was done as JSON; nothing on standard error."),
) -> None:
    """Train the student that CONFIG.yaml describes. Several processes: torchrun --nproc-per-node N -m mamtra distill ..."""
    from mamtra.distill.config import read_config

    settings = read_config(config, changes or ())
    if dry_run:
        from mamtra.distill.estimate import estimate

        facts = estimate(settings)
        print(json.dumps(facts) if as_json else _page(facts))
        return
    from mamtra.distill.log import read_log
    from mamtra.distill.run_report import write_run_report
    from mamtra.distill.trainer import Trainer

    make = None
    if whisper is not None:
        from mamtra.cli.training_listener import make_listener

        make = make_listener(whisper, sentences, voice)
    trainer = Trainer(settings, resume=resume, listener=None if as_json else _tell)
    if make is not None and trainer.processes.first:
        trainer.observer = make(trainer.began.directory, trainer.processes.device)
    try:
        place = trainer.run()
        if not trainer.processes.first:
            return
        report = write_run_report(Path(settings.out))
    finally:
        trainer.processes.leave()
    lines = read_log(Path(settings.out))
    facts = {
        "student": str(place),
        "report": str(report),
        "steps": trainer.step,
        "parameters": trainer.parameters,
        "held_out": next((_numbers(line) for line in reversed(lines) if line["kind"] == "held_out"), {}),
        "train": next((_numbers(line) for line in reversed(lines) if line["kind"] == "train"), {}),
    }
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"{place} is ready; the run is drawn in {report}")


def _numbers(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("kind", "step")}


def _tell(line: dict[str, Any]) -> None:
    shown = [f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}" for name, value in line.items()]
    print(
        "  ".join(shown[2:] if len(shown) > 2 else shown).join((f"{line['kind']} {line['step']}: ", "")),
        file=sys.stderr,
    )


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
