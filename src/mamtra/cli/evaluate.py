"""`mamtra evaluate`, `compare` and `report`: how well systems speak, which of them speaks better, and all of it on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from mamtra.cli.options import Json, Whisper, refuse_ignored
from mamtra.cli.tables import Bars, foreign
from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    app.command("evaluate", epilog="Example: mamtra evaluate mini --set plain --whisper DIR -o mini.jsonl")(evaluate)
    app.command("compare", epilog="Example: mamtra compare teacher.jsonl student.jsonl")(compare)
    app.command("report", epilog="Example: mamtra report teacher.jsonl student.jsonl -o report.html")(report)


def evaluate(
    ctx: typer.Context,
    system: str = typer.Argument(
        help="Model directory or name, folder with ID.wav files, 'ground_truth', 'resynthesis', or a system that is not ours: "
        "openai:URL, zonos:NAME, llasa:DIR|NAME, FILE.py."
    ),
    test_set: str = typer.Option(
        "plain", "--set", metavar="SET", help="plain, sample, FILE.lst/.tsv/.csv/.txt, or a LibriTTS folder."
    ),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="Score file; SYSTEM.scores.jsonl by default."
    ),
    whisper: Whisper = None,
    voice: str | None = typer.Option(None, metavar="NAME", help="For lines without a prompt."),
    similarity: bool = typer.Option(False, "--similarity", help="Compare speakers with prompt and ground truth."),
    encoder: str | None = typer.Option(
        None, metavar="NAME", help="Speaker encoder: of a MODEL, wavlm[:DIR] or resemblyzer[:FILE]."
    ),
    mos: bool = typer.Option(False, "--mos", help="Rate naturalness."),
    rater: str = typer.Option("distilmos", metavar="NAME", help="Of naturalness: distilmos or utmos[:DIR]."),
    config: str | None = typer.Option(
        None, metavar="FILE", help="VERSA's YAML list of metrics, in place of --similarity and --mos."
    ),
    versa: str | None = typer.Option(None, metavar="FILE", help="Write the scores in VERSA's form too."),
    with_versa: bool = typer.Option(
        False, "--with-versa", help="Run VERSA itself too, where it is installed; its lines go to FILE.versa.jsonl."
    ),
    sounds: str | None = typer.Option(None, metavar="DIR", help="Keep the speech of a model as DIR/ID.wav."),
    limit: int | None = typer.Option(None, metavar="N", min=1, help="Only the first N lines."),
    seed: list[int] = typer.Option(
        [0], metavar="N", min=0, help="Give it several times to speak the whole set with each seed."
    ),
    workers: int = typer.Option(1, metavar="N", min=1, help="Processes side by side."),
    device: str | None = typer.Option(
        None, metavar="D[,D...]", help="cpu, cuda, cuda:N or mps; several go to the processes in turn."
    ),
    model: str | None = typer.Option(
        None, metavar="M", help="Model that 'resynthesis' uses; name of a server's model; codec of Llasa."
    ),
    key_variable: str = typer.Option(
        "OPENAI_API_KEY", metavar="NAME", help="Environment variable with the key of a server."
    ),
    alone: bool = typer.Option(False, "--alone", help="Leave out the set's recordings and their resynthesis."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file instead of continuing it."),
    as_json: Json = False,
) -> None:
    """Measure how well SYSTEM speaks a set: WER by three rules, failures, and more. An interrupted run continues.

    Where the set has recordings they are measured too, as they are and resynthesised by the model, into
    FILE.ground_truth.jsonl and FILE.resynthesis.jsonl beside FILE.jsonl; such files are reused where they fit.
    """
    if config is not None:
        refuse_ignored(ctx, "with --config, which names the metrics", "similarity", "mos")
    elif not mos:
        refuse_ignored(ctx, "without --mos", "rater")
    if config is None and not similarity:
        refuse_ignored(ctx, "without --similarity", "encoder")
    from mamtra.evaluate import evaluate as run

    with Bars("Evaluating") as bars:
        scores = run(
            system, test_set, whisper=whisper, output=output, voice=voice, similarity=similarity, encoder=encoder,
            rater=rater if mos else None, config=config, versa=versa, with_versa=with_versa, sounds=sounds, limit=limit,
            seeds=seed, workers=workers, devices=split_devices(device), model=model, key_variable=key_variable,
            alone=alone, overwrite=overwrite,
            progress=bars,
        )  # fmt: skip
    for name, other in scores.references.items():
        tell(f"{other.path}: {name}, by the same judges")
    for remark in scores.remarks:
        tell(remark)
    summary = scores.summary()
    print(json.dumps(summary)) if as_json else _show(summary)
    tell(f"{scores.path}: compare it with `mamtra compare {scores.path} OTHER`")


def compare(
    first: str = typer.Argument(help="Score file of `mamtra evaluate`."),
    other: str = typer.Argument(help="Another, over the same set."),
    force: bool = typer.Option(False, "--force", help="Compare what was measured differently, with a warning."),
    as_json: Json = False,
) -> None:
    """OTHER minus FIRST on the same utterances: differences, 95% intervals, sign tests."""
    from mamtra.evaluate import compare as run

    found = run(first, other, force=force)
    for phrase in found["differs"]:
        tell(f"warning: measured differently, {phrase}")
    if as_json:
        print(json.dumps(found))
        return
    from rich.console import Console
    from rich.table import Table

    page = Table("", "other - first", "95% interval", "lower", "higher", "p (sign test)", box=None)
    for name, value in found["figures"].items():
        low, high = value["ci95"]
        counts = (f"{value[key]:.3g}" if key in value else "" for key in ("lower", "higher", "p_sign"))
        page.add_row(foreign(name), f"{value['difference']:+.3g}", f"\\[{low:+.3g}, {high:+.3g}]", *counts)
    Console().print(f"{found['utterances']} utterances")
    Console().print(page)


def report(
    files: list[str] = typer.Argument(
        help="Score files of `mamtra evaluate`; the first is what the others are compared with."
    ),
    output: str = typer.Option("report.html", "-o", "--output", metavar="FILE", help="The page."),
    media: bool = typer.Option(True, "--media/--no-media", help="Include sound and spectrograms."),
) -> None:
    """Write one HTML page that opens offline: figures, differences, and every utterance with text, sound and spectrogram.

    Sound is there where `mamtra evaluate` kept it (--sounds) or evaluated a folder of sounds.
    """
    from mamtra.evaluate import report as run

    path = run(files, Path(output), media=media)
    tell(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def split_devices(text: str | None) -> tuple[str, ...]:
    """Devices of a list between commas."""
    return tuple(filter(None, (part.strip() for part in (text or "").split(","))))


def _show(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, systems = Console(), [summary, *summary["references"].values()]
    for one in systems:
        about = f"{one['utterances']} utterances, {one['without_sound']} without sound"
        console.print(f"{foreign(one['system'])}: {about}")
    if len(systems) > 1:
        page = Table("value and 95% interval", *(foreign(one["system"]) for one in systems), box=None)
        for name in dict.fromkeys(name for one in systems for name in one["figures"]):
            page.add_row(foreign(name), *(_cell(one["figures"].get(name)) for one in systems))
    else:
        page = Table("", "", "95% interval", "utterances", box=None)
        for name, value in summary["figures"].items():
            page.add_row(foreign(name), *_cell(value).split(" ", 1), str(value["utterances"]))
    console.print(page)
    if summary["spent"]:
        parts = ", ".join(f"{foreign(name)} {seconds:.0f} s" for name, seconds in summary["spent"].items())
        console.print(f"spent, all processes together: {parts}", highlight=False)
    kinds = sorted({kind for group in summary["failures"].values() for kind in group} - {"utterances", "wer_english"})
    lengths = Table("words", "utterances", "WER %", *map(foreign, kinds), box=None)
    for name, group in summary["failures"].items():
        cells = (str(group.get(kind, 0)) for kind in kinds)
        lengths.add_row(foreign(name), str(group["utterances"]), f"{group['wer_english']:.2f}", *cells)
    console.print(lengths)
    for name, value in summary.get("versa", {}).items():
        console.print(f"VERSA {foreign(name)}: {value:.4g}", highlight=False)


def _cell(value: dict[str, Any] | None) -> str:
    """A figure and its interval, escaped for a table."""
    if value is None:
        return ""
    low, high = value["ci95"]
    return f"{value['value']:.4g} \\[{low:.4g}, {high:.4g}]"
