"""`mamtra evaluate`, `compare` and `report`: how well systems speak, which of them speaks better, and all of it on one page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from mamtra.errors import MamTraError


def register(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    app.command("evaluate", epilog="Example: mamtra evaluate mini --set plain --whisper DIR -o mini.jsonl")(evaluate)
    app.command("compare", epilog="Example: mamtra compare teacher.jsonl student.jsonl")(compare)
    app.command("report", epilog="Example: mamtra report teacher.jsonl student.jsonl -o report.html")(report)


def evaluate(
    system: str = typer.Argument(help="Model directory or name, folder with ID.wav files, 'truth' or 'resynthesis'."),
    test_set: str = typer.Option(
        "plain", "--set", metavar="SET", help="plain, sample, FILE.lst/.tsv/.txt, or a LibriTTS folder."
    ),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="Score file; SYSTEM.scores.jsonl by default."
    ),
    whisper: str | None = typer.Option(
        None,
        "--whisper",
        metavar="DIR|NAME",
        envvar="MAMTRA_WHISPER",
        help="Whisper that listens: a folder, hf:NAME or a size.",
    ),
    voice: str | None = typer.Option(None, "--voice", metavar="NAME", help="Where the set gives no prompt."),
    similarity: bool = typer.Option(False, "--similarity", help="Compare voices with prompt and ground truth."),
    encoder: str | None = typer.Option(
        None, "--encoder", metavar="NAME", help="Compares voices: a MODEL's own, wavlm[:DIR], resemblyzer[:FILE]."
    ),
    mos: bool = typer.Option(False, "--mos", help="Rate naturalness."),
    rater: str = typer.Option("distilmos", "--rater", metavar="NAME", help="Who does: distilmos, utmos[:DIR]."),
    config: str | None = typer.Option(
        None, "--config", metavar="FILE", help="VERSA's YAML list of metrics, instead of the two above."
    ),
    versa: str | None = typer.Option(None, "--versa", metavar="FILE", help="Write the scores in VERSA's form too."),
    with_versa: bool = typer.Option(
        False, "--with-versa", help="Run VERSA itself as well, where it is installed; its lines go to FILE.versa.jsonl."
    ),
    sounds: str | None = typer.Option(None, "--sounds", metavar="DIR", help="Keep what a model says as DIR/ID.wav."),
    limit: int | None = typer.Option(None, "--limit", metavar="N", min=1, help="Only the first N lines."),
    seed: list[int] = typer.Option(
        [0], "--seed", metavar="N", min=0, help="Again for several: each says the whole set."
    ),
    workers: int = typer.Option(1, "--workers", metavar="N", min=1, help="Processes side by side."),
    device: str | None = typer.Option(
        None, "--device", metavar="D[,D...]", help="cpu, cuda, cuda:N or mps; several go to the processes in turn."
    ),
    model: str | None = typer.Option(None, "--model", metavar="M", help="Model that 'resynthesis' uses."),
    alone: bool = typer.Option(
        False, "--alone", help="Leave out the set's recordings, and those said again by the model."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Begin anew instead of going on with the file."),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as JSON."),
) -> None:
    """Measure how well SYSTEM says a set: word errors by three rules, failures, and more. An interrupted run goes on.

    Where the set has recordings they are measured too, as they are and said again by the model, into FILE.truth.jsonl and
    FILE.resynthesis.jsonl beside FILE.jsonl; such files that are there already and fit are taken.
    """
    if not whisper:
        raise MamTraError(
            "Counting word errors needs a transcriber; give a Whisper with --whisper DIR|NAME, such as base (145 MB, fetched "
            "once)."
        )
    from mamtra.evaluate.judges.asr import check_english
    from mamtra.evaluate.references import begin, recorded, references
    from mamtra.evaluate.run import Plan, complete, evaluate_set
    from mamtra.evaluate.sets import read_set
    from mamtra.evaluate.summary import summarise
    from mamtra.runtime.device import pick_device

    if with_versa:
        from mamtra.evaluate.versa_run import run_versa, scorer

        scorer()  # better said before a long run than after it
    if config is not None:
        from mamtra.evaluate.versa import read_config

        asked = read_config(Path(config), any_metric=with_versa)
        similarity, mos = "similarity" in asked, "mos" in asked
    lines = read_set(test_set, limit)
    check_english(line.reference for line in lines.lines)
    if system in ("truth", "resynthesis") and not any(line.truth for line in lines.lines):
        raise MamTraError(f"The set {lines.name} has no recordings of its texts, which {system!r} would judge.")
    devices = split_devices(device)
    for one in devices:
        pick_device(one)
    plan = Plan(
        system=system, whisper=whisper, voice=voice, seeds=tuple(dict.fromkeys(seed)), keep=sounds, devices=devices,
        model=model, similarity=similarity, encoder=encoder, rater=rater if mos else None,
    )  # fmt: skip
    name = Path(system).name or "system"
    path = Path(output or f"{name}.scores.jsonl")
    scorer, spoken = plan.open(), recorded(lines)
    compared = not alone and system not in ("truth", "resynthesis")
    beside, remarks = references(plan, scorer, path) if compared and spoken.lines else ([], [])
    # a file that does not fit is better said now than after a long run
    others = {one.name: begin(one, spoken, overwrite=overwrite) for one in beside}
    run = evaluate_set(plan, lines, path, workers=workers, overwrite=overwrite, scorer=scorer)
    scores = _follow(run, len(lines.lines) * len(plan.seeds))
    for one in beside:
        _follow(complete(others[one.name], one.plan, spoken, one.scorer, workers), len(spoken.lines), one.name)
        print(f"{one.path}: {one.name}, by the same judges", file=sys.stderr)
    if compared and not spoken.lines:
        remarks = [f"The set {lines.name} has no recordings of its texts to compare with."]
    for remark in remarks:
        print(remark, file=sys.stderr)
    if versa is not None:
        from mamtra.evaluate.versa import write_versa

        write_versa(scores, Path(versa))
    summary = summarise(scores)
    summary["references"] = {name: summarise(other) for name, other in others.items()}
    if with_versa:
        metrics = ["words", *(["similarity"] if similarity else []), *(["mos"] if mos else [])]
        own = Path(config) if config else None
        theirs = path.with_suffix(".versa.jsonl")
        summary["versa"], left_out = run_versa(scores, lines.lines, theirs, metrics=metrics, config=own)
        for phrase in left_out:
            print(f"warning: VERSA: {phrase}", file=sys.stderr)
    print(json.dumps(summary)) if as_json else _show(summary)
    print(f"{path}: compare it with `mamtra compare {path} OTHER`", file=sys.stderr)


def compare(
    first: str = typer.Argument(help="Score file of `mamtra evaluate`."),
    other: str = typer.Argument(help="Another, over the same set."),
    force: bool = typer.Option(False, "--force", help="Compare what was measured differently, with a warning."),
    as_json: bool = typer.Option(False, "--json", help="Print the differences as JSON."),
) -> None:
    """What OTHER changes against FIRST on the same utterances: differences, 95% intervals, sign tests."""
    from mamtra.evaluate.score_file import differences, read_scores
    from mamtra.evaluate.summary import compare as compare_scores

    one, two = read_scores(Path(first)), read_scores(Path(other))
    unlike = differences(one.stamp, two.stamp)
    if unlike and not force:
        raise MamTraError(f"These files cannot be compared ({'; '.join(unlike)}); --force compares them all the same.")
    for phrase in unlike:
        print(f"warning: measured differently, {phrase}", file=sys.stderr)
    found = {**compare_scores(one, two), "differs": unlike}
    if as_json:
        print(json.dumps(found))
        return
    from rich.console import Console
    from rich.table import Table

    page = Table("", "other - first", "95% interval", "lower", "higher", "p (sign test)", box=None)
    for name, value in found["figures"].items():
        low, high = value["ci95"]
        page.add_row(
            name, f"{value['difference']:+.3g}", f"[{low:+.3g}, {high:+.3g}]".replace("[", "\\["), str(value["lower"]),
            str(value["higher"]), f"{value['p_sign']:.3g}",
        )  # fmt: skip
    Console().print(f"{found['utterances']} utterances")
    Console().print(page)


def report(
    files: list[str] = typer.Argument(
        help="Score files of `mamtra evaluate`; the first is what others are set against."
    ),
    output: str = typer.Option("report.html", "-o", "--output", metavar="FILE", help="The page."),
    media: bool = typer.Option(True, "--media/--no-media", help="Put sound and spectrograms into it."),
) -> None:
    """Write one HTML page that opens offline: figures, differences, and every utterance to hear, see and read.

    Sound is there where `mamtra evaluate` kept it (--sounds) or judged a folder of sounds.
    """
    from mamtra.evaluate.report import write_report
    from mamtra.evaluate.score_file import read_scores

    path = write_report([read_scores(Path(name)) for name in files], Path(output), media=media)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", file=sys.stderr)


def split_devices(text: str | None) -> tuple[str, ...]:
    """Devices of a list between commas."""
    return tuple(filter(None, (part.strip() for part in (text or "").split(","))))


def _follow(steps: Any, total: int, what: str = "") -> Any:
    """Run to the end behind a progress bar on standard error; what the run returns."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(f"Evaluating {what}".rstrip()), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Evaluating", total=total)
        while True:
            try:
                progress.update(task, completed=next(steps))
            except StopIteration as end:
                return end.value


def _show(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, systems = Console(), [summary, *summary["references"].values()]
    for one in systems:
        console.print(f"{one['system']}: {one['utterances']} utterances, {one['without_sound']} without sound")
    if len(systems) > 1:
        page = Table("value and 95% interval", *(str(one["system"]) for one in systems), box=None)
        for name in dict.fromkeys(name for one in systems for name in one["figures"]):
            page.add_row(name, *(_cell(one["figures"].get(name)) for one in systems))
    else:
        page = Table("", "", "95% interval", "utterances", box=None)
        for name, value in summary["figures"].items():
            page.add_row(name, *_cell(value).split(" ", 1), str(value["utterances"]))
    console.print(page)
    if summary["spent"]:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["spent"].items())
        console.print(f"spent, all processes together: {parts}", highlight=False)
    kinds = sorted({kind for group in summary["failures"].values() for kind in group} - {"utterances", "wer_english"})
    lengths = Table("words", "utterances", "WER %", *kinds, box=None)
    for name, group in summary["failures"].items():
        cells = (str(group.get(kind, 0)) for kind in kinds)
        lengths.add_row(name, str(group["utterances"]), f"{group['wer_english']:.2f}", *cells)
    console.print(lengths)
    for name, value in summary.get("versa", {}).items():
        console.print(f"VERSA {name}: {value:.4g}", highlight=False)


def _cell(value: dict[str, Any] | None) -> str:
    """A figure and its interval, escaped for a table."""
    if value is None:
        return ""
    low, high = value["ci95"]
    return f"{value['value']:.4g} \\[{low:.4g}, {high:.4g}]"
