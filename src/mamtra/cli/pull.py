"""`mamtra pull`: a model from the Hugging Face hub to a directory."""

from __future__ import annotations

from pathlib import Path

import typer

from mamtra.cli.tell import LONGEST, tell
from mamtra.runtime.printable import printable


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("pull", epilog="Example: mamtra pull FunAudioLLM/CosyVoice2-0.5B -o CosyVoice2-0.5B")(pull)


def pull(
    repo: str = typer.Argument(metavar="OWNER/NAME", help="Model on the hub, native, or CosyVoice 2 or 3."),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="DIR", help="Directory to fill; NAME by default."
    ),
    revision: str | None = typer.Option(None, metavar="R", help="Branch, tag or commit."),
    reinforced: bool = typer.Option(
        False, "--rl", help="Of CosyVoice 3: llm.rl.pt, trained further by reinforcement learning, in place of llm.pt."
    ),
) -> None:
    """Download the files of a model that MamTra reads and check their hashes. An interrupted download is resumed."""
    from mamtra.checkpoints.pull import pull as download

    out = download(
        repo,
        Path(output or repo.rpartition("/")[2]),
        revision,
        lambda name, number, count: tell(f"{number}/{count} {name}"),
        reinforced=reinforced,
    )
    print(printable(str(out), LONGEST))
