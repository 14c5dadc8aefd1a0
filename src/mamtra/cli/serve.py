"""`mamtra serve`: a speech server for the clients of OpenAI and ElevenLabs, and for browsers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mamtra.cli.options import Device, Model, Runtime, Watermark, refuse_ignored, watermark_key
from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.serve.keys import Key

KEY_VARIABLE = "MAMTRA_API_KEY"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("serve", epilog="Example: mamtra serve --port 8000 --voice-alias alloy=clara")(serve)


def serve(
    ctx: typer.Context,
    model: Model = None,
    host: str = typer.Option("127.0.0.1", metavar="H", help="Address to listen on; 0.0.0.0 for all."),
    port: int = typer.Option(8000, metavar="N", min=1, max=65535, help="TCP port."),
    wyoming: int | None = typer.Option(
        None, metavar="PORT", min=1, max=65535, help="Answer Home Assistant there too; 10200 is usual."
    ),
    keys: Path | None = typer.Option(
        None, metavar="FILE", help=f"Lines with NAME KEY [STREAMS]; one key alone may be in {KEY_VARIABLE}."
    ),
    open_to_all: bool = typer.Option(False, "--open-to-all", help="Listen on other addresses without a key."),
    origin: list[str] = typer.Option([], metavar="URL", help="A web page elsewhere that may use it."),
    voice_alias: list[str] = typer.Option([], metavar="A=B", help="Another name for a voice."),
    strict_models: bool = typer.Option(False, "--strict-models", help="Refuse other names of models than its own."),
    streams: int | None = typer.Option(None, metavar="N", min=1, help="Texts spoken side by side."),
    waiting: int = typer.Option(32, metavar="N", min=0, help="Requests that may wait; others get 503."),
    memory: float | None = typer.Option(
        None, metavar="GB", min=0.001, help="For the texts being spoken; 4/5 of what is free by default."
    ),
    front_processes: int = typer.Option(
        0, "--front-processes", metavar="N", min=0, max=64, help="For HTTP and text, beside the one with the model."
    ),
    max_characters: int = typer.Option(10_000, metavar="N", min=1, help="Of a text."),
    uploads: bool = typer.Option(True, "--uploads/--no-uploads", help="Let clients add and remove voices."),
    drain: float = typer.Option(30, metavar="S", min=0, help="Seconds for running texts after SIGTERM."),
    watermark: Watermark = False,
    runtime: Runtime = None,
    device: Device = None,
    dtype: str | None = typer.Option(
        None, metavar="T", help="Of the language model's weights: float32, bfloat16 or float16."
    ),
    flow_steps: int | None = typer.Option(
        None, "--flow-steps", metavar="N", min=1, help="Steps of the flow; fewer are faster."
    ),
    flow_history: int | None = typer.Option(
        None, "--flow-history", metavar="N", min=0, help="Frames of 20 ms that the flow sees behind the prompt; 0: all."
    ),
    ray: str | None = typer.Option(
        None, metavar="ADDRESS", help="Replicas on a Ray cluster: auto, HOST:PORT, or local for this machine."
    ),
    replicas: str = typer.Option("1", metavar="N|N-M", help="With --ray: how many, M while requests wait."),
    replica_gpus: float = typer.Option(0.0, metavar="N", min=0, help="With --ray: GPUs of each."),
) -> None:
    """Serve speech: /v1/audio/speech as OpenAI has it. Ctrl-C or SIGTERM ends it once running texts are spoken."""
    # threads that wait would otherwise take the cores from those that compute; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from mamtra.runtime.optional import need
    from mamtra.serve.run import INSTALL, PURPOSE, serve
    from mamtra.serve.settings import ServeSettings

    need("fastapi", PURPOSE, INSTALL)
    settings = ServeSettings(
        host=host,
        port=port,
        wyoming_port=wyoming,
        keys=_keys(keys),
        open_to_all=open_to_all,
        origins=tuple(origin),
        waiting=waiting,
        most_memory=None if memory is None else round(1e9 * memory),
        front_processes=front_processes,
        most_characters=max_characters,
        uploads=uploads,
        drain_seconds=drain,
        strict_models=strict_models,
        watermark=watermark_key(watermark),
        aliases=_aliases(voice_alias),
        **({} if streams is None else {"streams": streams}),
    )
    settings.check_reach()
    options = {"device": device, "dtype": dtype, "flow_steps": flow_steps, "flow_history": flow_history}
    if ray is not None:
        refuse_ignored(ctx, "with --ray", "front_processes")
        from mamtra.serve.replicas import ModelPlace, Replicas, serve_replicas

        place = ModelPlace(model, runtime, **options)
        serve_replicas(place, settings, Replicas.parse(replicas, replica_gpus), address=ray)
        return
    refuse_ignored(ctx, "without --ray", "replicas", "replica_gpus")
    from mamtra.tts import load

    serve(load(model, runtime=runtime, **options), settings)


def _keys(path: Path | None) -> tuple[Key, ...]:
    from mamtra.runtime.text_files import read_text
    from mamtra.serve.keys import environment_keys, parse_keys

    found = environment_keys()
    if path is not None and found:
        raise MamTraError(f"Keys come from --keys or from {KEY_VARIABLE}; leave one of them out.")
    return found if path is None else parse_keys(read_text(path), str(path))


def _aliases(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        alias, sign, name = pair.partition("=")
        if not (alias and sign and name):
            raise MamTraError(f"--voice-alias {pair} is not ALIAS=VOICE, such as alloy=clara.")
        found[alias] = name
    return found
