"""The command line program: its verbs, and one sentence for every mistake."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import typer

from mamtra.errors import MamTraError

VERBS = (
    "say",
    "batch",
    "voices",
    "plan",
    "convert",
    "export",
    "rank",
    "evaluate",
    "listen",
    "prepare",
    "distill",
    "reproduce",
    "pull",
    "bench",
    "doctor",
)
"""Modules of this package that register themselves, in the order of `mamtra --help`."""

USER_ERROR = 2
INTERNAL_ERROR = 1
INTERRUPTED = 130


def build() -> typer.Typer:
    """The program with all its verbs."""
    app = typer.Typer(
        name="mamtra",
        help="Hybrid Mamba-Transformer text to speech. Try: mamtra say 'Hello'",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def program(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if version:
            from mamtra.version import VERSION

            typer.echo(f"mamtra {VERSION}")
            raise typer.Exit

    for verb in VERBS:
        importlib.import_module(f"mamtra.cli.{verb}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: words after `mamtra`; those of the process by default.

    Returns:
        exit status: 0, 2 for a mistake of the user, 1 for one of the program, 130 when interrupted. Mistakes are one
        sentence on standard error; with `MAMTRA_DEBUG=1` the traceback follows.
    """
    # Threads that wait actively for one another crawl once other programs want the cores; torch reads this when loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = build()(words, prog_name="mamtra", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except MamTraError as error:
        return _report(str(error), USER_ERROR, error)
    except KeyboardInterrupt:
        return _report("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # the reader of a pipe went away (`| head`): not a mistake, and flushing at exit would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _from_typer(error)


def _from_typer(error: Exception) -> int:
    """Errors of the argument parser carry a message and a status; everything else is a mistake of the program."""
    name = type(error).__name__
    if name == "Abort":
        return _report("Interrupted.", INTERRUPTED)
    if name == "NoArgsIsHelpError":
        return 0
    if hasattr(error, "format_message"):
        message = " ".join(error.format_message().split()).rstrip(".") or "The command is incomplete"
        return _report(f"{message}; see `mamtra --help`.", USER_ERROR, error)
    if isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else ""
        return _report(f"{what}{(error.strerror or str(error)).rstrip('.')}.", USER_ERROR, error)
    hint = "set MAMTRA_DEBUG=1 for the details"
    return _report(f"Internal error ({name}: {' '.join(str(error).split())}); {hint}.", INTERNAL_ERROR, error)


def _report(message: str, status: int, error: BaseException | None = None) -> int:
    print(f"mamtra: {message}", file=sys.stderr)
    if error is not None and os.environ.get("MAMTRA_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    return status
