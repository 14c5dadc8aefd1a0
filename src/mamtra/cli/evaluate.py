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
    overwrite: bool = typer.Option(False, "--overwrite", help="Begin anew instead of going on with the file."),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as JSON."),
) -> None:
    """Measure how well SYSTEM says a set: word errors by three rules, failures, and more. An interrupted run goes on."""
    if whisper is None:
        raise MamTraError("Counting word errors needs a transcriber; give a Whisper with --whisper DIR|NAME.")
    from mamtra.evaluate.run import Plan, evaluate_set
    from mamtra.evaluate.sets import read_set
    from mamtra.evaluate.summary import summarise
    from mamtra.evaluate.transcribe import check_english

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
    plan = Plan(
        system=system, whisper=whisper, voice=voice, seeds=tuple(dict.fromkeys(seed)), keep=sounds, devices=split_devices(device),
        model=model, similarity=similarity, encoder=encoder, rater=rater if mos else None,
    )  # fmt: skip
    name = Path(system).name or "system"
    path = Path(output or f"{name}.scores.jsonl")
    scores = _follow(evaluate_set(plan, lines, path, workers=workers, overwrite=overwrite), len(lines.lines))
    if versa is not None:
        from mamtra.evaluate.versa import write_versa

        write_versa(scores, Path(versa))
    summary = summarise(scores)
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


def _follow(steps: Any, total: int) -> Any:
    """Run to the end behind a progress bar on standard error; what the run returns."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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

    page = Table("", "", "95% interval", "utterances", box=None)
    for name, value in summary["figures"].items():
        low, high = value["ci95"]
        page.add_row(name, f"{value['value']:.4g}", f"\\[{low:.4g}, {high:.4g}]", str(value["utterances"]))
    console = Console()
    console.print(f"{summary['system']}: {summary['utterances']} utterances, {summary['without_sound']} without sound")
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
