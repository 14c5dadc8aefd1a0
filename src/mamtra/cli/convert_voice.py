"""`mamtra convert-voice`: what is said in a recording, in another voice."""

from __future__ import annotations

import typer

from mamtra.cli.default_file import default_file, save_by_default
from mamtra.cli.options import Device, Model, Seed, Speed
from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("convert-voice", epilog="Example: mamtra convert-voice me.wav --voice NAME -o other.wav")(convert_voice)


def convert_voice(
    recording: str = typer.Argument(metavar="IN.wav", help="Recording of up to 30 s."),
    output: str | None = typer.Option(
        None,
        "-o",
        "--output",
        metavar="FILE|-",
        help="Audio file to make; converted.wav, or a new name where it exists.",
    ),
    voice: str | None = typer.Option(
        None, metavar="NAME|FILE.wav", help="Name of a voice, or a recording of its speaker."
    ),
    model: Model = None,
    seed: Seed = 0,
    speed: Speed = 1.0,
    device: Device = None,
) -> None:
    """Say what is said in a recording in another voice, with the same rhythm."""
    from mamtra.audio.io import check_destination, format_of
    from mamtra.tts import load

    target = default_file("converted") if output is None else output
    format_of(target)
    check_destination(target)
    audio = load(model, device=device).convert_voice(recording, voice, seed=seed, speed=speed)
    if output is None:
        target = save_by_default(audio, "converted")
    else:
        audio.save(target)
    tell(f"{target}: {audio.seconds:.1f} s, voice {audio.voice}")
