"""The page of `mamtra bench serve`."""

from __future__ import annotations

from typing import Any

from mamtra.bench.serve_load import SETTLE
from mamtra.runtime.results import footnote, markdown_table

SETTLED = f"Listeners begin one after another within {SETTLE:g} s, which are not counted. "
HEADER = ["load", "requests", "errors", "first audio p50, ms", "p95", "p99", "real-time factor p50", "p95",
          "audio s/s", "answers with gaps"]  # fmt: skip
_NAMES = {"listeners": "{:g} listeners", "clients": "{:g} clients", "rate": "{:g} requests/s"}


def render(result: dict[str, Any]) -> str:
    """Markdown from the content of serve.json."""
    rows = [load_cells(row) for row in result["rows"]]
    name = f" of {result['server']}" if result["server"] else ""
    return (
        "\n\n".join(
            [
                "# A speech server under load",
                f"Figures{name}, seen by its clients. Texts are one, two or four plain sentences. A listener plays an answer from "
                "its first sample on and then asks for the next one; a client asks as soon as an answer is complete; requests/s "
                "arrive at random moments. An answer has a gap where a listener would have run out of audio. The real-time "
                "factor is the time of the whole answer over the duration of its audio. "
                f"{SETTLED if 'settle' in result else ''}{result['seconds']:g} s a load, seed {result['seed']}.",
                markdown_table(HEADER, rows),
                footnote(result),
            ]
        )
        + "\n"
    )


def load_cells(row: dict[str, Any]) -> list[Any]:
    """A row of a table with `HEADER`."""
    return [
        _NAMES[row["mode"]].format(row["amount"]),
        row["requests"],
        ", ".join(f"{count} x {what}" for what, count in row["errors"].items()) or 0,
        *_percentiles(row["first_audio"], 1000, 0),
        *_percentiles(row["real_time_factor"], 1, 2)[:2],
        f"{row['audio_per_second']:.2f}",
        f"{row['with_gaps']} ({row['gap_seconds']:.1f} s)",
    ]


def _percentiles(values: dict[str, float] | None, scale: float, digits: int) -> list[str]:
    return ["-"] * 3 if values is None else [f"{scale * value:.{digits}f}" for value in values.values()]
