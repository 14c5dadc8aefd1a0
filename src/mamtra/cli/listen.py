"""`mamtra listen`: listening tests as pages that open offline, and what the returned answers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from mamtra.cli.options import Json, refuse_ignored
from mamtra.cli.tables import foreign
from mamtra.cli.tell import tell
from mamtra.errors import MamTraError


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    group = typer.Typer(no_args_is_help=True, help="Listening tests: make a page, read the answers.")
    group.command("make", epilog="Example: mamtra listen make a.jsonl b.jsonl --test mos --utterances 50 -o mos.html")(
        make
    )
    group.command("read", epilog="Example: mamtra listen read mos.key.json answers/*.json")(read)
    app.add_typer(group, name="listen")


def make(
    ctx: typer.Context,
    files: list[str] = typer.Argument(help="Score files of `mamtra evaluate` whose sound was kept, one a system."),
    test: str = typer.Option("mos", metavar="mos|ab|mushra", help="What listeners do."),
    output: str = typer.Option(
        "listening.html", "-o", "--output", metavar="FILE", help="The page; its key goes beside it."
    ),
    reference: str | None = typer.Option(None, metavar="FILE", help="Score file of 'ground_truth', for MUSHRA."),
    utterances: int | None = typer.Option(None, metavar="N", min=1, help="So many, sampled at random."),
    per_listener: int | None = typer.Option(None, metavar="N", min=1, help="Trials one listener gets."),
    catch: int = typer.Option(2, metavar="N", min=0, help="Trials that show who does not listen."),
    seed: int = typer.Option(0, metavar="N", min=0, help="Of the sampling and of every listener's order."),
    question: str | None = typer.Option(None, metavar="T", help="Instead of the usual one."),
    title: str = typer.Option("Listening test", metavar="T", help="Of the page."),
    show_text: bool = typer.Option(False, "--show-text", help="Show the text of a clip."),
    fmt: str = typer.Option(
        "flac", "--format", metavar="flac|wav|opus", help="Of the sound; opus is small but not lossless."
    ),
    normalise: bool = typer.Option(True, "--normalise/--no-normalise", help="Loudness-normalise all clips."),
    as_json: Json = False,
) -> None:
    """Write one HTML page for listeners, and PAGE.key.json, which stays with you: it says which system a clip is of."""
    if test != "mushra":
        refuse_ignored(ctx, "without --test mushra", "reference")
    from mamtra.evaluate import load_scores
    from mamtra.evaluate.listening.key import KINDS
    from mamtra.evaluate.listening.page import Wording, write_test
    from mamtra.evaluate.listening.trials import Design, make_trials, system_names

    if test not in KINDS:
        raise MamTraError(f"There is no listening test {test!r}; choose one of {', '.join(KINDS)}.")
    if fmt not in ("flac", "wav", "opus"):
        raise MamTraError(f"Sound in a page is flac, wav or opus, not {fmt!r}.")
    runs = [load_scores(name) for name in files]
    design = Design(test, utterances, catch, seed, normalise)  # type: ignore[arg-type]
    trials = make_trials(design, runs, load_scores(reference) if reference else None)
    wording = Wording(title, question, show_text, per_listener, fmt)
    page, key = write_test(design, trials, system_names(runs), Path(output), wording)
    asked = sum(not trial.catch for trial in trials)
    facts = {"page": str(page), "key": str(key), "trials": asked, "catch_trials": len(trials) - asked}
    if as_json:
        print(json.dumps(facts))
        return
    size = page.stat().st_size / 2**20
    tell(f"{page}: {asked} trials and {len(trials) - asked} catch trials, {size:.1f} MiB; keep {key}")


def read(
    key: str = typer.Argument(help="PAGE.key.json, or the page beside it."),
    answers: list[str] = typer.Argument(help="Files that listeners sent back."),
    allow: int = typer.Option(0, metavar="N", min=0, help="Catch trials that a listener may fail."),
    as_json: Json = False,
) -> None:
    """Means with 95% intervals, or preferences with sign tests. Listeners who failed catch trials are left out, and named."""
    from mamtra.evaluate.listening.analysis import analyse
    from mamtra.evaluate.listening.answers import read_answers
    from mamtra.evaluate.listening.key import read_key

    known = read_key(Path(key))
    found, remarks = read_answers(map(Path, answers), known)
    figures = {**analyse(found, known, allow), "remarks": remarks}
    print(json.dumps(figures)) if as_json else _show(figures)


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"{figures['listeners']} listeners, {figures['answers']} answers")
    for name, why in figures["left_out"].items():
        console.print(f"left out: {foreign(name)} {why}")
    for remark in figures["remarks"]:
        console.print(f"note: {foreign(remark)}")
    if figures["kind"] == "ab":
        page = Table("", "", "first", "same", "other", "net, 95% interval", "p (votes)", "p (listeners)", box=None)
        for pair in figures["pairs"]:
            low, high = pair["ci95"]
            page.add_row(
                foreign(pair["first"]), foreign(pair["other"]),
                *(str(pair[k]) for k in ("first_better", "no_difference", "other_better")),
                f"{pair['net_preference']:+.2f} \\[{low:+.2f}, {high:+.2f}]", f"{pair['p_sign']:.3g}",
                f"{pair['p_sign_listeners']:.3g}",
            )  # fmt: skip
    else:
        page = Table("", "mean", "95% over listeners and utterances", "median", "ratings", box=None)
        for name, row in figures["systems"].items():
            if not row["ratings"]:
                continue
            low, high = row["ci95"]
            mean, half = row["mean"], row["half_width"]
            spread = "" if half is None else f" ± {half:.2f}"
            cells = (f"{mean:.2f}{spread}", f"\\[{low:.2f}, {high:.2f}]", f"{row['quartiles'][1]:g}")
            page.add_row(foreign(name), *cells, str(row["ratings"]))
    console.print(page)
