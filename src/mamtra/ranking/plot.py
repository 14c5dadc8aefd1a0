"""A figure of a layer ranking: a bar for each layer, with its place in the ranking above."""

from __future__ import annotations

import os
from pathlib import Path

from mamtra.conversion.ranking_table import RankingTable
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_destination
from mamtra.runtime.plotting import canvas, need_matplotlib

UNITS = {"cosine": "1 - cosine", "kl": "KL divergence, nats per speech token", "wer": "WER without the layer, %"}


def check_plot(path: str | os.PathLike) -> Path:
    """Refuse a figure that cannot be drawn, before any work is done.

    Raises:
        MamTraError: matplotlib is missing, the suffix is neither .svg nor .png, or there is no such folder.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise MamTraError(f"A plot is a .svg or a .png file, not {path.name!r}.")
    check_destination(path)
    need_matplotlib()
    return path


@checked
def plot_ranking(table: RankingTable, path: str | os.PathLike) -> Path:
    """Draw the scores of the first step.

    Raises:
        MamTraError: the table is not complete, or see `check_plot`.
    """
    path, ranking = check_plot(path), table.ranking()
    header = table.header
    rows = sorted(table.of_step(0), key=lambda row: row.layer)
    with canvas(path, (max(4.0, 0.36 * header.num_layers + 1), 3.2)) as figure:
        axes = figure.add_subplot()
        bars = axes.bar([row.layer for row in rows], [row.score for row in rows], color="#4477aa")
        axes.bar_label(bars, [str(ranking.index(row.layer) + 1) for row in rows], fontsize=7, padding=1)
        if table.unchanged is not None:
            axes.axhline(table.unchanged.score, color="#cc6677", linewidth=1, label="the unchanged model")
            axes.legend(frameon=False)
        axes.set_xticks(range(header.num_layers))
        axes.tick_params(labelsize=7)
        axes.set(xlabel="layer", ylabel=UNITS[header.criterion], xlim=(-0.7, header.num_layers - 0.3))
        replacement = header.settings.get("replace") or header.settings.get("part")
        kind = "iterative" if header.iterative else "one-shot"
        axes.set_title(f"{header.name}: importance by {header.criterion} ({replacement}, {kind})", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    return path
