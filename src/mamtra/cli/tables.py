"""What verbs print with rich: text from files, and progress bars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mamtra.runtime.printable import QUOTED, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def foreign(text: object, limit: int = QUOTED) -> str:
    """Text that came from a file, as rich prints it unchanged: without markup, control characters and terminal escapes."""
    from rich.markup import escape

    return escape(printable(str(text), limit))


class Bars:
    """Progress bars on standard error, one for every name that progress is reported of; none where it is no terminal.

    Args:
        title: before the names.
        quiet: show none.
        of_bytes: what is counted are bytes.
    """

    def __init__(self, title: str, *, quiet: bool = False, of_bytes: bool = False) -> None:
        self._title, self._of_bytes, self._shown = title, of_bytes, not quiet and sys.stderr.isatty()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Show how much of what `name` stands for is done."""
        if not self._shown:
            return
        if self._progress is None:
            self._progress = self._begin()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(f"{self._title} {name}".rstrip(), total=total)
        self._progress.update(self._tasks[name], completed=done)

    def count(self, done: int, total: int | None) -> None:
        """Show how much is done of what has no name."""
        self("", done, total)

    def _begin(self) -> Progress:
        from rich import progress as rich
        from rich.console import Console

        counter = rich.DownloadColumn() if self._of_bytes else rich.MofNCompleteColumn()
        columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), counter, rich.TimeRemainingColumn())
        progress = rich.Progress(*columns, console=Console(stderr=True), transient=True)
        progress.start()
        return progress
