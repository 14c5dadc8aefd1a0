"""Which layers need their attention: criteria, calibration data, the ranking run.

from mamtra.ranking import rank

table = rank("models/mini-teacher", "kl", output="kl.jsonl")
table.ranking()
"""

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.conversion.ranking_file import read_ranking
    from mamtra.ranking.api import rank
    from mamtra.ranking.plot import plot_ranking

__all__ = ["plot_ranking", "rank", "read_ranking"]

__getattr__ = lazy_names(
    __name__,
    {
        "plot_ranking": "mamtra.ranking.plot",
        "rank": "mamtra.ranking.api",
        "read_ranking": "mamtra.conversion.ranking_file",
    },
)
