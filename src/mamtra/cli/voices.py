"""`mamtra voices`: list, show, add and remove voices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from mamtra.cli.options import Json, Model
from mamtra.cli.tables import foreign
from mamtra.cli.tell import tell
from mamtra.errors import MamTraError
from mamtra.runtime.printable import QUOTED, printable

if TYPE_CHECKING:
    from pathlib import Path

    from mamtra.voices.library import VoiceLibrary


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    group = typer.Typer(no_args_is_help=True, help="List, show, add and remove voices.")
    group.command("list", epilog="Example: mamtra voices list --json")(list_voices)
    group.command("show", epilog="Example: mamtra voices show NAME")(show_voice)
    group.command(
        "add", epilog="Example: mamtra voices add me me.wav --text 'What I say in it.' --consent 'It is my voice.'"
    )(add_voice)
    group.command("remove", epilog="Example: mamtra voices remove me")(remove_voice)
    app.add_typer(group, name="voices")


def _library(model: str | None) -> VoiceLibrary:
    from mamtra.checkpoints.find import find_model
    from mamtra.voices.library import VoiceLibrary

    return VoiceLibrary(find_model(model))


def list_voices(model: Model = None, as_json: Json = False) -> None:
    """List the voices of a model and your own."""
    from mamtra.checkpoints.find import find_model

    rows, damaged = _rows(_library(model), find_model(model))
    for sentence in damaged:
        tell(f"mamtra: {sentence}")
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        tell("There are no voices; add one with `mamtra voices add NAME ref.wav`.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*("Name", "Language", "Gender", "From", "Description"), box=None)
    for row in rows:
        table.add_row(*(foreign(row[key]) for key in ("name", "language", "gender", "origin", "description")))
    Console().print(table)


def _rows(library: VoiceLibrary, directory: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Facts about every voice at hand, and a sentence for every file that cannot be read."""
    from mamtra.checkpoints.model_files import is_native
    from mamtra.voices.info import read_info

    rows, damaged = [], []
    for name, path in library.paths().items():
        try:
            info = read_info(path).model_dump(include={"name", "language", "gender", "description", "licence"})
        except MamTraError as error:
            damaged.append(str(error))
            continue
        rows.append({**info, "origin": "user" if library.is_users(name) else "model"})
    if not is_native(directory):  # preset speakers, which only CosyVoice 2 has, take torch to be read
        from mamtra.synthesis.open_model import open_model

        about = {"language": "", "gender": "", "description": "preset speaker", "licence": "", "origin": "model"}
        rows += [{"name": name, **about} for name in open_model(directory).speakers]
    return rows, damaged


def show_voice(name: str = typer.Argument(help="Name of a voice."), model: Model = None, as_json: Json = False) -> None:
    """Show what is known about a voice."""
    from mamtra.voices.voice import Voice

    path = _library(model).path(name)
    voice = Voice.load(path, "numpy")
    facts = voice.info.model_dump() | {
        "seconds": round(voice.seconds, 2),
        "transcript": bool(len(voice.prompt_text)),
        "file": str(path),
    }
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        shown = ("no", "yes")[value] if isinstance(value, bool) else str(value)
        print(f"{key.replace('_', ' '):<12} {printable(shown, 4 * QUOTED)}".rstrip())


def add_voice(
    name: str = typer.Argument(help="Name for the voice."),
    recording: str = typer.Argument(metavar="REF.wav", help="1 to 30 s of one person speaking, 16 kHz or more."),
    text: str | None = typer.Option(None, metavar="T", help="What is said in it, word for word."),
    language: str = typer.Option("en", help="Language of the voice."),
    gender: str = typer.Option("", help="For lists."),
    description: str = typer.Option("", help="For lists."),
    licence: str = typer.Option("", help="Licence of the recording."),
    consent: str = typer.Option("", help="How the speaker agreed; kept in the voice."),
    replace: bool = typer.Option(False, "--replace", help="Replace a voice of yours with this name."),
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Add a voice made from a recording. Only clone a voice whose owner agrees."""
    _library(model).place(name, replace=replace)  # refused before any work
    from mamtra.tts import load

    tts = load(model)
    facts = {
        "name": name,
        "language": language,
        "gender": gender,
        "description": description,
        "licence": licence,
        "consent": consent,
    }
    voice = tts.clone(recording, text, **facts)
    path = tts.library.add(voice, replace=replace)
    for sentence in voice.advice:
        tell(f"Advice: {sentence}")
    if as_json:
        print(json.dumps({"name": name, "file": str(path), "seconds": round(voice.seconds, 2), "advice": voice.advice}))
    else:
        tell(f"{path}: {voice.seconds:.1f} s; try it with `mamtra say --voice {name} 'Hello'`")


def remove_voice(
    name: str = typer.Argument(help="Name of a voice of yours."), model: Model = None, as_json: Json = False
) -> None:
    """Remove a voice that you added."""
    path = _library(model).remove(name)
    if as_json:
        print(json.dumps({"removed": name, "file": str(path)}))
    else:
        tell(f"Removed {name}.")
