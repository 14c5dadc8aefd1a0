"""Options that would have no effect are refused: whoever gave them expected one."""

from __future__ import annotations

import typer

from mamtra.errors import MamTraError


def refuse_ignored(ctx: typer.Context, why: str, *names: str) -> None:
    """Refuse options that were given on the command line.

    Args:
        ctx: of the command.
        why: when they have no effect, such as "without --stream".
        names: of their parameters.

    Raises:
        MamTraError: one of them was given.
    """
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise MamTraError(f"{parameter.opts[-1]} has no effect {why}; leave it out.")
