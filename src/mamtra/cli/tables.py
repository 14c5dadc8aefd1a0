"""What verbs print with rich: text from files, and progress bars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mamtra.runtime.printable import QUOTED, printable

if TYPE_CHECKING:
    from rich.progress import TaskID


def foreign(text: object, limit: int = QUOTED) -> str:
    """Text that came from a file, as rich prints it unchanged: without markup, control characters and terminal escapes."""
    from rich.markup import escape

    return escape(printable(str(text), limit))


class Bars:
    """Progress bars on standard error, one for every name that progress is reported of; none where it is no terminal.

    Args:
        title: before the names.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = not sys.stderr.isatty()
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden)
        self._title, self._tasks = title, dict[str, "TaskID"]()

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how much of what `name` stands for is done."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(f"{self._title} {name}".rstrip(), total=total)
        self._progress.update(self._tasks[name], completed=done)
