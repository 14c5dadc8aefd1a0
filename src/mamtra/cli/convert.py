"""`mamtra convert`: a Transformer language model becomes a hybrid one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mamtra.cli.options import Attention, Json, Ranking, Ratio, Strategy, read_indices
from mamtra.cli.tables import Bars, foreign
from mamtra.cli.tell import tell
from mamtra.errors import MamTraError
from mamtra.runtime.printable import QUOTED

if TYPE_CHECKING:
    from mamtra.conversion.options import TransferOptions

GB = 10**9


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("convert", epilog="Example: mamtra convert CosyVoice2-0.5B hybrid --ratio 1:1 --strategy block-beg")(
        convert
    )


def convert(
    src: str = typer.Argument(
        metavar="SRC", help="Model directory or name; a Qwen2 or Llama directory of Hugging Face; CosyVoice 2 or 3."
    ),
    dst: str = typer.Argument(metavar="DST", help="Directory to make."),
    ratio: Ratio = None,
    strategy: Strategy = None,
    attention: Attention = None,
    ranking: Ranking = None,
    init: str = typer.Option("transfer", metavar="I", help="Projections: transfer, xavier or kaiming."),
    form: str | None = typer.Option(None, metavar="F", help="Mixer: mamba2 (default) or discrete."),
    qkv_bias: str = typer.Option("keep", metavar="B", help="Biases of q, k, v: keep, fold or drop."),
    conv_init: str = typer.Option("identity", metavar="C", help="identity or default (random taps)."),
    gate_init: str = typer.Option("small", metavar="G", help="small or neutral."),
    dt_init: str = typer.Option("mamba2", metavar="D", help="Steps: mamba2 or one."),
    a_init: str | None = typer.Option(
        None, metavar="A", help="Decay: mamba2, slow, one or neutral; by form when left out."
    ),
    d_init: str = typer.Option("one", metavar="D", help="Skip: one or zero."),
    storage: str | None = typer.Option(
        None, "--storage", "--dtype", metavar="T", help="float32, bfloat16, float16 or int8; that of SRC when left out."
    ),
    shard_gb: float = typer.Option(5.0, metavar="X", help="Weights beyond X GB are split into files."),
    seed: int = typer.Option(0, metavar="N", min=0, max=2**63 - 1, help="Seed of the random initialisation."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be made."),
    as_json: Json = False,
) -> None:
    """Convert the Transformer SRC to the hybrid DST: Mamba layers are initialised from the attention that they replace."""
    if not 1e-6 <= shard_gb <= 1e6:
        raise MamTraError(f"--shard-gb is the size of a file in GB, such as 5, not {shard_gb:g}.")
    options = _options(
        init=init, form=form, qkv_bias=qkv_bias, conv_init=conv_init, gate_init=gate_init, dt_init=dt_init,
        a_init=a_init, d_init=d_init,
    )  # fmt: skip
    from mamtra.checkpoints.open_lm import open_language_model
    from mamtra.conversion.choose_plan import choose_plan
    from mamtra.conversion.directory import check_destination, write_directory
    from mamtra.conversion.job import Conversion

    teacher = open_language_model(src)
    plan = choose_plan(teacher.config.num_hidden_layers, ratio, strategy, read_indices(attention), ranking)
    conversion = Conversion(teacher, plan, options, storage=storage, seed=seed, shard_bytes=round(shard_gb * GB))
    facts = {"destination": dst, "dry_run": dry_run, **conversion.facts()}
    if dry_run:
        check_destination(Path(dst), conversion)
    else:
        began = time.perf_counter()
        with Bars("Converting", quiet=as_json, of_bytes=True) as bars:
            provenance = write_directory(conversion, dst, bars.count)
        facts |= {
            "seconds": round(time.perf_counter() - began, 3),
            "teacher_sha256": provenance["teacher"]["sha256"],
            "sha256": provenance["sha256"],
            "files": provenance["conversion"]["files"],
            "checks": provenance["conversion"]["checks"],
        }
    if as_json:
        print(json.dumps(facts))
    else:
        _show(facts)


def _options(**words: Any) -> TransferOptions:
    """The options of the transfer.

    Raises:
        MamTraError: an unknown choice.
    """
    from typing import get_args

    from mamtra.conversion import options as known
    from mamtra.models.config import MambaForm

    choices = {
        "init": known.Init, "form": MambaForm, "qkv_bias": known.QkvBias, "conv_init": known.ConvInit,
        "gate_init": known.GateInit, "dt_init": known.DtInit, "a_init": known.AInit, "d_init": known.DInit,
    }  # fmt: skip
    for name, word in words.items():
        if word is not None and word not in get_args(choices[name]):
            option = "--" + name.replace("_", "-")
            raise MamTraError(f"{option} {word!r} is unknown; choose one of {', '.join(get_args(choices[name]))}.")
    return known.TransferOptions(**words)


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mamtra.cost.units import byte_count

    teacher, options = facts["source"], facts["options"]
    before, after = facts["parameters"].values()
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    rows = {
        "source": f"{teacher['name']} ({teacher.get('architecture', teacher['format'])})",
        "plan": facts["plan"],
        "layers": f"{len(facts['attention_layers'])} attention, {len(facts['mamba_layers'])} Mamba, "
        f"{len(facts['new_mamba_layers'])} of them new",
        "parameters": f"{before:,} -> {after:,} ({after - before:+,})",
        "weights": " -> ".join(map(byte_count, facts["bytes"].values())) + f", {facts['storage']}",
        "options": ", ".join(f"{name} {value}" for name, value in options.items() if value is not None),
        "seed": str(facts["seed"]),
        "copied files": ", ".join(facts["copied_files"]) or "none",
        "converted files": ", ".join(facts["converted_files"]) or "none",
        "not copied": ", ".join(facts["left_files"]) or "none",
    }
    for check in facts.get("checks", ()):
        passed = "passed" if check["passed"] else f"not run, {check['reason']}"
        rows[check["check"]] = f"{passed} ({check['relative_error']:.1e})" if "relative_error" in check else passed
    for label, text in rows.items():
        table.add_row(label, foreign(text, 4 * QUOTED))
    Console(highlight=False).print(table)
    done = "nothing was written" if facts["dry_run"] else f"{facts['destination']}: {facts['seconds']:.1f} s"
    tell(done if facts["dry_run"] else f"{done}; see CONVERSION.md in it")
