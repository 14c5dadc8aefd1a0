"""Evaluation of speech: test sets, judges, metrics, score files, reports, listening tests.

from mamtra.evaluate import compare, evaluate, report

scores = evaluate("mini", "sample", whisper="base")
scores.figures["wer_english"]
"""

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.evaluate.api import Scores, compare, evaluate, report
    from mamtra.evaluate.reading import load_scores

__all__ = ["Scores", "compare", "evaluate", "load_scores", "report"]

__getattr__ = lazy_names(
    __name__,
    {
        "Scores": "mamtra.evaluate.api",
        "compare": "mamtra.evaluate.api",
        "evaluate": "mamtra.evaluate.api",
        "load_scores": "mamtra.evaluate.reading",
        "report": "mamtra.evaluate.api",
    },
)
