"""The command `mamtra`: one file a verb. Nothing heavy is imported before a verb runs."""

from mamtra.cli.app import main

__all__ = ["main"]
