"""The command line program: its verbs, and one sentence for every mistake."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from mamtra.cli.streams import complete_streams
from mamtra.cli.tell import tell, warnings_in_words
from mamtra.errors import MamTraError
from mamtra.runtime.explain import behind, explain
from mamtra.runtime.optional import torch_is_missing

VERBS = (
    "say",
    "batch",
    "serve",
    "detect",
    "web",
    "voices",
    "convert_voice",
    "plan",
    "convert",
    "export",
    "rank",
    "evaluate",
    "listen",
    "prepare",
    "distill",
    "distill_flow",
    "reproduce",
    "pull",
    "bench",
    "doctor",
)
"""Modules of this package that register themselves, in the order of `mamtra --help`."""

USER_ERROR = 2
INTERNAL_ERROR = 1
INTERRUPTED = 130
TERMINATED = 143


def build(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """The program with some of its verbs, by their modules."""
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

    for verb in verbs:
        importlib.import_module(f"mamtra.cli.{verb}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: words after `mamtra`; those of the process by default.

    Returns:
        exit status: 0, 2 for a mistake of the user, 1 for one of the program, 130 and 143 when interrupted. Mistakes are one
        sentence on standard error; with `MAMTRA_DEBUG=1` the traceback follows.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        atexit.register(gc.freeze)  # what is left when the process ends is not looked through for garbage
    complete_streams()
    try:
        with _stopping(), warnings_in_words():
            _run(words)
        return 0
    except typer.Exit as end:
        return end.exit_code
    except MamTraError as error:
        return _report(behind(error) or str(error), USER_ERROR, error)
    except Terminated:
        return _report("Terminated.", TERMINATED)
    except KeyboardInterrupt:
        return _report("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # the reader of a pipe went away (`| head`): not a mistake, and flushing at exit would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (problem := torch_is_missing(error)) is not None:
            return _report(str(problem), USER_ERROR, error)
        return _from_typer(error)


def _run(words: list[str]) -> None:
    """Parse and carry out a command. (Calling the app itself would hide interrupts and broken pipes.)"""
    verb = words[0].replace("-", "_") if words else ""
    command = typer.main.get_command(build([verb] if verb in VERBS else VERBS))
    with command.make_context("mamtra", words) as context:
        command.invoke(context)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: nothing half-written stays."""


@contextmanager
def _stopping() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM would end the process at once.

    A signal may come inside a library that makes an error of its own of it; that error is raised as what the signal meant.
    """
    told: list[KeyboardInterrupt] = []

    def stop(number: int, _: object) -> None:
        told.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        raise told[-1]

    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    mine = threading.current_thread() is threading.main_thread()
    changed = [number for number, handler in usual.items() if mine and signal.getsignal(number) == handler]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if told:
            raise told[-1] from error
        raise
    finally:
        for number in changed:
            signal.signal(number, usual[number])


def _from_typer(error: Exception) -> int:
    """Errors of the argument parser carry a message and a status; everything else is a mistake of the program."""
    name = type(error).__name__
    if name == "Abort":
        return _report("Interrupted.", INTERRUPTED)
    if name == "NoArgsIsHelpError":
        return 0
    if hasattr(error, "format_message"):
        return _report(_usage(error), USER_ERROR, error)
    sentence = explain(error)
    if sentence is not None:
        return _report(sentence, USER_ERROR, error)
    hint = "set MAMTRA_DEBUG=1 for the details"
    return _report(f"Internal error ({name}: {' '.join(str(error).split())}); {hint}.", INTERNAL_ERROR, error)


_PLAIN = (
    (r"Input should be a valid integer.*", "it has to be a whole number"),
    (r"Input should be a valid number.*", "it has to be a number"),
    (r"Input should be greater than or equal to (\S+)", r"it has to be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"it has to be at most \1"),
    (r"Input should be", "it has to be"),
    (
        r"Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)$",
        r"'\1' is too much; put what belongs together in quotes",
    ),
)
"""What the argument parser says, and how a person would."""


def _usage(error: Any) -> str:
    """A mistake in the words of a command, with the help that fits."""
    message = " ".join(error.format_message().split()).rstrip(".") or "The command is incomplete"
    for pattern, plain in _PLAIN:
        message = re.sub(pattern, plain, message)
    verb = error.ctx.command_path if getattr(error, "ctx", None) else "mamtra"
    return f"{message} See `{verb} --help`." if message.endswith(("?", "!")) else f"{message}; see `{verb} --help`."


def _report(message: str, status: int, error: BaseException | None = None) -> int:
    tell(f"mamtra: {message}")
    if error is not None and os.environ.get("MAMTRA_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    return status
