"""A table or figure of the paper: how it is found, and how its page and picture are made from what was found."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_file
from mamtra.runtime.json_files import read_json
from mamtra.runtime.results import circumstances, footnote, short_numbers, write_result

if TYPE_CHECKING:
    from mamtra.paper.runs import Run
    from mamtra.paper.settings import ExperimentSettings


@dataclass(frozen=True)
class Study:
    """A table or figure.

    Attributes:
        name: such as ``"table2"``; files are called after it.
        title: headline of the page.
        find: what there is to know, as JSON values, with the main table under ``rows``, one mapping of columns a row. Called
            without arguments, or with the settings and the folder of the training runs.
        page: from that to the Markdown below the headline.
        draw: writes the figure to NAME.svg, where there is one.
        groups: the training runs that it needs, those in a group differing in their seeds only; None where it needs none.
    """

    name: str
    title: str
    find: Callable[..., dict[str, Any]]
    page: Callable[[dict[str, Any]], str]
    draw: Callable[[dict[str, Any], Path], None] | None = None
    groups: Callable[[ExperimentSettings], Mapping[Any, list[Run]]] | None = None

    def runs(self, settings: ExperimentSettings) -> list[Run]:
        """All training runs that it needs."""
        return [run for members in (self.groups(settings) if self.groups else {}).values() for run in members]

    def content(self, command: str, *inputs: Any) -> dict[str, Any]:
        """What was found, with the circumstances."""
        return short_numbers({"name": self.name, "title": self.title, **circumstances(command), **self.find(*inputs)})

    def read(self, folder: Path) -> dict[str, Any]:
        """The content of NAME.json in a folder.

        Raises:
            MamTraError: it is missing or damaged.
        """
        path = folder / f"{self.name}.json"
        if not path.is_file():
            raise MamTraError(f"{folder} holds no {path.name}; run `mamtra reproduce {self.name}` first.")
        return read_json(path)

    def write(self, folder: Path, content: dict[str, Any]) -> list[Path]:
        """Write NAME.json, NAME.csv, NAME.md and, where there is a figure, NAME.svg.

        Args:
            folder: made where it does not exist.
            content: see `content` and `read`.

        Returns:
            The files.
        """
        json_file, table, picture = (folder / f"{self.name}{suffix}" for suffix in (".json", ".csv", ".svg"))
        page = write_result(json_file, content, self.render)
        with atomic_file(table) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, list(dict.fromkeys(name for row in content["rows"] for name in row)), lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(content["rows"])
        if self.draw is None:
            return [json_file, table, page]
        self.draw(content, picture)
        return [json_file, table, page, picture]

    def render(self, content: dict[str, Any]) -> str:
        """The whole page."""
        picture = "" if self.draw is None else f"![{self.title}]({self.name}.svg)\n\n"
        return f"# {self.title}\n\n{picture}{self.page(content)}\n\n{footnote(content)}\n"
