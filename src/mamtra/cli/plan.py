"""`mamtra plan`: a layer plan and what it costs, before anything is trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text

if TYPE_CHECKING:
    from mamtra.cost.shapes import Blueprint
    from mamtra.models.plan import LayerPlan

DEFAULT_MODEL = "cosyvoice2"
DEFAULT_STRATEGY = "block-beg"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("plan", epilog="Example: mamtra plan --layers 24 --ratio 1:3 --strategy block-beg --svg plan.svg")(plan)


def plan(
    layers: int | None = typer.Option(
        None, "--layers", metavar="N", min=1, max=10000, help="Number of layers; CosyVoice 2's sizes without --model."
    ),
    model: str | None = typer.Option(
        None,
        "--model",
        metavar="M",
        help="cosyvoice2, llasa-1b, zonos-v0.1, mini, or a directory with a config.json.",
    ),
    ratio: str | None = typer.Option(
        None, "--ratio", metavar="T:M", help="Attention to Mamba layers; the model's own layers by default."
    ),
    strategy: str | None = typer.Option(
        None,
        "--strategy",
        metavar="S",
        help="block-beg (default), block-end, front, middle, back, sandwich, importance-cosine, -wer or -kl.",
    ),
    attention: str | None = typer.Option(
        None, "--attention", metavar="I,I,...", help="Instead of a ratio: the layers that keep attention, from 0."
    ),
    ranking: str | None = typer.Option(
        None, "--ranking", metavar="FILE", help="For the importance strategies: what `mamtra rank` wrote."
    ),
    context: int = typer.Option(2048, "--context", metavar="N", min=1, help="Tokens of a sequence."),
    batch: int = typer.Option(1, "--batch", metavar="N", min=1, help="Sequences side by side."),
    rate: float | None = typer.Option(
        None, "--rate", metavar="HZ", help="Tokens per second of speech; the model's, or 25."
    ),
    scores: str = typer.Option("full", "--scores", metavar="C", help="FLOPs: full or causal attention scores."),
    head: str = typer.Option("none", "--head", metavar="C", help="FLOPs: output for none, last or all tokens."),
    scan: str = typer.Option("none", "--scan", metavar="C", help="FLOPs of prefill's scan: none, steps, chunks, 9ldn."),
    cache_dtype: str = typer.Option("bfloat16", "--cache-dtype", metavar="T", help="bfloat16, float16 or float32."),
    state_dtype: str = typer.Option("float32", "--state-dtype", metavar="T", help="Of the recurrent states, likewise."),
    svg: str | None = typer.Option(None, "--svg", metavar="FILE", help="Draw the layers to a .svg file."),
    as_json: bool = typer.Option(False, "--json", help="Print all figures as JSON."),
) -> None:
    """Show a layer plan: the strip, parameters, FLOPs, bytes, and from which length on it pays."""
    from dataclasses import replace
    from typing import get_args

    from mamtra.cost.flops import FlopConvention, Head, Scan, Scores
    from mamtra.cost.memory import CacheTypes, FloatType
    from mamtra.cost.presets import find_blueprint
    from mamtra.cost.summary import plan_facts

    for option, value, kind in (
        ("--scores", scores, Scores),
        ("--head", head, Head),
        ("--scan", scan, Scan),
        ("--cache-dtype", cache_dtype, FloatType),
        ("--state-dtype", state_dtype, FloatType),
    ):
        if value not in get_args(kind):
            raise MamTraError(f"{option} {value!r} is unknown; choose one of {', '.join(get_args(kind))}.")
    if rate is not None and not 0 < rate < 1e6:
        raise MamTraError(f"--rate is the number of tokens in a second of speech, such as 25, not {rate}.")
    target = None if svg is None else _check_svg(svg)
    convention = FlopConvention(scores=scores, head=head, scan=scan)
    types = CacheTypes(cache=cache_dtype, state=state_dtype)
    blueprint = find_blueprint(model or DEFAULT_MODEL)
    if rate is not None:
        blueprint = replace(blueprint, rate=rate)
    chosen = _plan(blueprint, layers, ratio, strategy, attention, ranking)
    facts = plan_facts(blueprint, chosen, context, batch, convention, types)
    if target is not None:
        from mamtra.cost.layer_strip import strips_svg

        write_text(target, strips_svg([(_origin(chosen), chosen)], f"{blueprint.name}: {_counts(chosen)}"))
    if as_json:
        print(json.dumps(facts))
    else:
        _show(blueprint, chosen, facts)
    if target is not None and not as_json:
        print(f"{target}: the layers as a picture", file=sys.stderr)


def _plan(
    blueprint: Blueprint,
    layers: int | None,
    ratio: str | None,
    strategy: str | None,
    attention: str | None,
    ranking: str | None,
) -> LayerPlan:
    """The plan that the options describe.

    Raises:
        MamTraError: options that contradict each other, or see `LayerPlan`.
    """
    from mamtra.models.plan import IMPORTANCE, LayerPlan

    own = blueprint.plan
    number = own.num_layers if layers is None else layers
    if attention is not None:
        if (ratio, strategy, ranking) != (None, None, None):
            raise MamTraError("--attention lists the layers itself; leave out --ratio, --strategy and --ranking.")
        return LayerPlan.explicit(number, _indices(attention))
    if ratio is None:
        if strategy is not None or ranking is not None:
            raise MamTraError("--strategy and --ranking need a ratio; add for example --ratio 1:3.")
        return own if number == own.num_layers else LayerPlan.from_ratio(number, "1:0")
    strategy = strategy or DEFAULT_STRATEGY
    if ranking is None:
        return LayerPlan.from_ratio(number, ratio, strategy)
    if strategy not in IMPORTANCE:
        raise MamTraError(f"--ranking goes with a strategy of {', '.join(IMPORTANCE)}, not with {strategy}.")
    from mamtra.conversion.ranking_file import read_ranking

    return LayerPlan.from_ratio(number, ratio, strategy, read_ranking(ranking))


def _indices(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise MamTraError(f"--attention takes layer numbers between commas, such as 0,4,8, not {text!r}.")
    return [int(word) for word in words]


def _check_svg(path: str) -> Path:
    target = Path(path)
    if target.suffix != ".svg":
        raise MamTraError(f"The picture is a .svg file, not {target.name!r}.")
    if target.is_dir() or not target.parent.is_dir():
        raise MamTraError(f"There is no place for {path}; name a file in a folder that exists.")
    return target


def _origin(chosen: LayerPlan) -> str:
    if not chosen.mamba_layers:
        return "all attention"
    return "explicit" if chosen.ratio is None else f"{chosen.strategy} {chosen.ratio}"


def _counts(chosen: LayerPlan) -> str:
    return f"{chosen.num_layers} layers, {len(chosen.attention_layers)} attention, {len(chosen.mamba_layers)} Mamba"


def _show(blueprint: Blueprint, chosen: LayerPlan, facts: dict[str, Any]) -> None:
    from rich.console import Console

    from mamtra.cost.layer_strip import strip_text

    console = Console(highlight=False)
    console.print(f"{blueprint.name}: {_counts(chosen)} ({_origin(chosen)})\n")
    console.print(strip_text(chosen, console.width))
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
