"""`mamtra convert-voice`: what is said in a recording, in another voice."""

from __future__ import annotations

import sys

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("convert-voice", epilog="Example: mamtra convert-voice me.wav --voice NAME -o other.wav")(convert_voice)


def convert_voice(
    recording: str = typer.Argument(metavar="IN.wav", help="Recording of up to 30 s."),
    output: str = typer.Option("converted.wav", "-o", "--output", metavar="FILE|-", help="Audio file to make."),
    voice: str | None = typer.Option(
        None, "--voice", metavar="NAME|FILE.wav", help="Name of a voice, or a recording of its speaker."
    ),
    model: str | None = typer.Option(None, "--model", metavar="M", help="Model directory or name."),
    seed: int = typer.Option(0, "--seed", metavar="N", min=0, help="The same seed gives the same audio."),
    speed: float = typer.Option(1.0, "--speed", metavar="X", help="0.5 (slow) to 2 (fast)."),
    device: str | None = typer.Option(None, "--device", metavar="D", help="cpu, cuda, cuda:N or mps."),
) -> None:
    """Say what is said in a recording in another voice, with the same rhythm."""
    from mamtra.audio.io import check_destination, format_of
    from mamtra.tts import load

    format_of(output)
    check_destination(output)
    audio = load(model, device=device).convert_voice(recording, voice, seed=seed, speed=speed)
    audio.save(output)
    print(f"{output}: {audio.seconds:.1f} s, voice {audio.voice}", file=sys.stderr)
