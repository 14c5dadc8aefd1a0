"""Layer rankings: measurements and the order they give, one-shot or by iterative replacement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from mamtra.errors import MamTraError
from mamtra.models.config import MOST_LAYERS
from mamtra.runtime.strict_models import StrictModel

Criterion = Literal["cosine", "wer", "kl"]
Index = Annotated[int, Field(ge=0, lt=MOST_LAYERS)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Row(StrictModel):
    """One measurement.

    Attributes:
        step: number of layers replaced before, all less important than those measured in this step.
        layer: the replaced layer; None for the unmodified model.
        score: the higher, the more important is the layer. Criterion ``cosine``: 1 - cosine; ``kl``: nats per speech token;
            ``wer``: WER in percent without the layer.
        seconds: time it took.
        word_errors: of criterion ``wer``, with ``words`` in the references; the same for characters.
        words: see above.
        char_errors: see above; they break ties of the score.
        chars: see above.
    """

    model_config = ConfigDict(allow_inf_nan=True)  # `RankingTable.add` says what such a score means

    step: Index = 0
    layer: Index | None
    score: float
    seconds: float = 0.0
    word_errors: Count | None = None
    words: Count | None = None
    char_errors: Count | None = None
    chars: Count | None = None

    @property
    def importance(self) -> tuple[float, float, int]:
        """Sorts measurements of one step: by score, by character errors, then an earlier layer is the more important."""
        return self.score, (self.char_errors or 0) / max(1, self.chars or 0), -(self.layer or 0)


Measure = Callable[[Sequence[int], Sequence["int | None"]], Iterator[Row]]
"""Called with the layers replaced so far and those to measure (None: the unmodified model)."""


class RankingHeader(StrictModel):
    """Model, criterion and settings of a table. A run resumes a table where all but ``name`` agrees.

    Attributes:
        format: of the file.
        name: of the model, for display.
        model: digests of the weights that decide the scores, by section.
        criterion: of the scores.
        num_layers: layers of the model.
        candidates: layers that are measured, ascending: those with attention.
        iterative: layers are measured again after each removal.
        settings: all others that affect the scores.
        data: the data measured on.
    """

    format: Literal["mamtra-ranking-1"] = "mamtra-ranking-1"
    name: str = ""
    model: dict[str, str]
    criterion: Criterion
    num_layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    candidates: tuple[Index, ...]
    iterative: bool = False
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    data: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> RankingHeader:
        if list(self.candidates) != sorted({*self.candidates}) or max(self.candidates, default=-1) >= self.num_layers:
            raise ValueError("the candidates are not layers of the model, ascending")
        return self

    @property
    def expected(self) -> int:
        """Rows of a complete table."""
        n = len(self.candidates)
        return (n * (n + 1) // 2 if self.iterative else n) + (self.criterion == "wer")

    def has_place_for(self, row: Row) -> bool:
        """Whether a row is one of a table's measurements."""
        if row.layer is None:
            return self.criterion == "wer" and row.step == 0
        return row.layer in self.candidates and row.step < (len(self.candidates) if self.iterative else 1)

    def difference(self, other: RankingHeader) -> str:
        """The first difference of two headers, in words; empty where they agree."""
        mine, theirs = (header.model_dump(mode="json", exclude={"name"}) for header in (self, other))
        for key in mine:
            if mine[key] == theirs[key]:
                continue
            if key in ("settings", "data"):
                inner = sorted(k for k in mine[key] | theirs[key] if mine[key].get(k) != theirs[key].get(k))
                return f"{inner[0]} is {theirs[key].get(inner[0])} there and {mine[key].get(inner[0])} here"
            if key in ("model", "candidates", "num_layers"):
                return "it is about another model"
            return f"{key} is {theirs[key]} there and {mine[key]} here"
        return ""


class RankingTable:
    """Measurements of the layers of one model; `mamtra.conversion.ranking_file` keeps them on disk.

    Args:
        header: model, criterion and settings.
        rows: measurements so far.
        name: of the table, for messages.
    """

    def __init__(self, header: RankingHeader, rows: Iterable[Row] = (), name: str = "table") -> None:
        self.header = header
        self.name = name
        self._rows = {(row.step, row.layer): row for row in rows}

    @property
    def rows(self) -> list[Row]:
        """All measurements, in the order in which they were made."""
        return list(self._rows.values())

    @property
    def unchanged(self) -> Row | None:
        """The measurement of the unmodified model."""
        return self._rows.get((0, None))

    def of_step(self, step: int) -> list[Row]:
        """Measurements of layers after ``step`` removals."""
        return [row for row in self.rows if row.step == step and row.layer is not None]

    def add(self, row: Row) -> None:
        """Add a measurement.

        Raises:
            MamTraError: the score is not a number.
        """
        if not math.isfinite(row.score):
            raise MamTraError(f"Layer {row.layer} gives a score that is not a number; the model's weights are damaged.")
        self._rows[row.step, row.layer] = row

    def missing(self, step: int) -> list[int | None]:
        """Layers still to be measured in a step, None for the unmodified model."""
        wanted: list[int | None] = [None] if self.header.criterion == "wer" and step == 0 else []
        removed = self.removed(step)
        wanted += [i for i in self.header.candidates if i not in removed]
        return [layer for layer in wanted if (step, layer) not in self._rows]

    def removed(self, step: int) -> list[int]:
        """The layers that were removed before a step, the least important first; earlier steps must be complete."""
        gone: list[int] = []
        for earlier in range(step):
            gone.append(min(self.of_step(earlier), key=lambda row: row.importance).layer)
        return gone

    def ranking(self) -> list[int]:
        """All layers of the model, the most important first; those without attention come last.

        Raises:
            MamTraError: measurements are missing, or are of other layers.
        """
        header = self.header
        if len(self._rows) < header.expected:
            raise MamTraError(
                f"The ranking {self.name} is not complete ({len(self._rows)} of {header.expected} rows); "
                "run the same `mamtra rank` again to finish it."
            )
        if header.iterative:
            if any(not self.of_step(step) for step in range(len(header.candidates))):
                raise self._damaged()
            order = self.removed(len(header.candidates))[::-1]
        else:
            order = [row.layer for row in sorted(self.of_step(0), key=lambda row: row.importance, reverse=True)]
        if sorted(order) != list(header.candidates):
            raise self._damaged()
        return [*order, *(i for i in range(header.num_layers) if i not in header.candidates)]

    def _damaged(self) -> MamTraError:
        return MamTraError(f"The ranking {self.name} is damaged: its rows are not those of its layers.")

    def summary(self) -> dict[str, Any]:
        """The header, the ranking, the rows and the seconds that they took, for JSON."""
        rows = [row.model_dump(exclude_none=True) | {"layer": row.layer} for row in self.rows]
        seconds = round(sum(row.seconds for row in self.rows), 3)
        return {**self.header.model_dump(mode="json"), "ranking": self.ranking(), "rows": rows, "seconds": seconds}


def complete(table: RankingTable, measure: Measure) -> Iterator[Row]:
    """Make the missing measurements of a table, yielding each once it is stored.

    Without ``iterative`` all layers are measured once. With it the least important one is replaced and the
    others are measured again, until all are replaced; the ranking is the reversed order.

    Raises:
        MamTraError: a score is not a number.
    """
    for step in range(len(table.header.candidates) if table.header.iterative else 1):
        missing = table.missing(step)
        began = time.perf_counter()
        for row in measure(table.removed(step), missing) if missing else ():
            row = row.model_copy(update={"step": step, "seconds": round(time.perf_counter() - began, 4)})
            table.add(row)
            yield row
            began = time.perf_counter()
