"""`mamtra plan`: a layer plan and what it costs, before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from mamtra.cli.options import Attention, Json, Ranking, Ratio, Strategy, read_indices
from mamtra.cli.tables import foreign
from mamtra.cli.tell import tell

if TYPE_CHECKING:
    from mamtra.cost.plan import PlanCost


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("plan", epilog="Example: mamtra plan --layers 24 --ratio 1:3 --strategy block-beg --svg plan.svg")(plan)


def plan(
    layers: int | None = typer.Option(
        None, metavar="N", min=1, max=10000, help="Number of layers; CosyVoice 2's sizes without --model."
    ),
    model: str | None = typer.Option(
        None, metavar="M", help="cosyvoice2, llasa-1b, zonos-v0.1, mini, or a model directory."
    ),
    ratio: Ratio = None,
    strategy: Strategy = None,
    attention: Attention = None,
    ranking: Ranking = None,
    context: int = typer.Option(2048, metavar="N", min=1, help="Tokens of a sequence."),
    batch: int = typer.Option(1, metavar="N", min=1, help="Sequences side by side."),
    rate: float | None = typer.Option(None, metavar="HZ", help="Tokens per second of speech; the model's, or 25."),
    scores: str = typer.Option("full", metavar="C", help="FLOPs: full or causal attention scores."),
    head: str = typer.Option("none", metavar="C", help="FLOPs: output for none, last or all tokens."),
    scan: str = typer.Option("none", metavar="C", help="FLOPs of prefill's scan: none, steps, chunks, 9ldn."),
    cache_dtype: str = typer.Option("bfloat16", metavar="T", help="bfloat16, float16 or float32."),
    state_dtype: str = typer.Option("float32", metavar="T", help="Of the recurrent states, likewise."),
    svg: str | None = typer.Option(None, metavar="FILE", help="Draw the layers to a .svg file."),
    as_json: Json = False,
) -> None:
    """Show a layer plan: the strip, parameters, FLOPs, bytes, and from which length on it pays."""
    from mamtra.cost.plan import DEFAULT_MODEL, check_svg
    from mamtra.cost.plan import plan as count

    if svg is not None:
        check_svg(svg)
    cost = count(
        model or DEFAULT_MODEL, ratio, strategy, layers=layers, attention=read_indices(attention), ranking=ranking,
        context=context, batch=batch, rate=rate, scores=scores, head=head, scan=scan, cache_dtype=cache_dtype,
        state_dtype=state_dtype,
    )  # fmt: skip
    facts = cost.to_dict()
    if svg is not None:
        cost.save_svg(svg)
    if as_json:
        print(json.dumps(facts))
    else:
        _show(cost, facts)
    if svg is not None and not as_json:
        tell(f"{svg}: the layers as a picture")


def _show(cost: PlanCost, facts: dict[str, Any]) -> None:
    from rich.console import Console

    from mamtra.cost.layer_strip import strip_text

    console = Console(highlight=False)
    console.print(f"{foreign(cost.blueprint.name)}: {cost.counts} ({cost.origin})\n")
    console.print(strip_text(cost.plan, console.width))
    console.print(_figures(facts))
    console.print(f"\n{_break_even(facts)}\n")
    console.print(_curve(facts))
    console.print(f"\n{_convention(facts)}", style="dim")


def _table(facts: dict[str, Any], first: str) -> Any:
    """An empty table of the plan, beside attention in all layers where these differ."""
    from rich.table import Table

    table = Table(first, "plan", box=None, pad_edge=False)
    if facts["mamba_layers"]:
        table.add_column("all attention")
        table.add_column("")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _figures(facts: dict[str, Any]) -> Any:
    from mamtra.cost.units import byte_count, change

    context, whole = facts["context"], facts["all_attention"]
    at = f"{context:,} tokens" + (f" x {facts['batch']:,}" if facts["batch"] > 1 else "")
    table = _table(facts, "")
    rows = [
        (label, facts[key], whole[key], write)
        for label, key, write in (
            ("parameters", "params", lambda n: f"{n / 1e6:,.1f} M"),
            (f"prefill of {at}", "prefill_tflops", lambda n: f"{n:,.4g} TFLOP"),
            (f"decode step at {at}", "decode_mflops", lambda n: f"{n:,.1f} MFLOP"),
            ("KV cache, a token", "cache_bytes_per_token", lambda n: f"{n:,} B"),
            (f"KV cache of {at}", "cache_bytes", byte_count),
            ("recurrent state", "state_bytes", byte_count),
            (f"streams a GiB at {context:,} tokens", "streams_per_gib", lambda n: f"{n:,}"),
        )
    ]
    for label, mine, other, write in rows:
        table.add_row(label, *([write(mine), write(other), change(mine, other)][: len(table.columns) - 1]))
    return table


def _break_even(facts: dict[str, Any]) -> str:
    tokens = facts["break_even_tokens"]
    if tokens is None:
        return "There are no Mamba layers; --ratio 1:3 shows what some would save."
    seconds = f"{facts['break_even_seconds']:.1f} s at {facts['rate_hz']:.4g} Hz"
    return (
        f"The plan takes less memory from {tokens:,} tokens on ({seconds}), "
        f"fewer operations a decode step from {facts['even_decode_tokens']:,}."
    )


def _curve(facts: dict[str, Any]) -> Any:
    """Cache and state together by context; a bar of ten blocks is what all attention takes."""
    from mamtra.cost.units import byte_count

    table = _table(facts, "cache and state of")
    if facts["mamba_layers"]:
        table.add_column("")
    for (length, mine), (_, whole) in zip(facts["cache_curve"], facts["all_attention"]["cache_curve"], strict=True):
        cells = [byte_count(mine)]
        if facts["mamba_layers"]:
            share = mine / whole
            bar = "█" * min(20, round(10 * share)) + ("…" if share > 2 else "")
            cells += [byte_count(whole), f"{share:.0%}", bar]
        table.add_row(f"{length:,} tokens", *cells)
    return table


def _convention(facts: dict[str, Any]) -> str:
    counted, types = facts["convention"], facts["types"]
    scan = "no scan" if counted["scan"] == "none" else f"scan by {counted['scan']}"
    head = {"none": "no head", "last": "the head for the last token", "all": "the head for all tokens"}[counted["head"]]
    return (
        f"FLOPs: 2 a multiply-accumulate; {head}; prefill with {counted['scores']} scores and {scan}. "
        f"Bytes: {types['cache']} cache, {types['state']} state."
    )
