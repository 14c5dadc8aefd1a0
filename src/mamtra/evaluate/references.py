"""What a system's figures are read against: the set's own recordings, and those recordings said again by the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mamtra.errors import MamTraError
from mamtra.evaluate.run import Plan, stamp_of
from mamtra.evaluate.score_file import ScoreFile, open_scores, read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import TestSet
from mamtra.evaluate.systems import RESYNTHESIS, TRUTH, Resynthesis, Speaking, System, Truth


class Reference(NamedTuple):
    """A system to measure beside another one, by the same judges.

    Attributes:
        name: "truth" or "resynthesis".
        path: of its score file: NAME.truth.jsonl beside NAME.jsonl.
        plan: of it, for further processes.
        scorer: of it.
    """

    name: str
    path: Path
    plan: Plan
    scorer: Scorer


def recorded(lines: TestSet) -> TestSet:
    """The lines of a set that have a recording."""
    return replace(lines, lines=tuple(line for line in lines.lines if line.truth))


def references(plan: Plan, scorer: Scorer, path: Path) -> tuple[list[Reference], list[str]]:
    """What to measure beside a system, with the judges that are open already, and a sentence for what cannot be.

    Recordings beside any system; recordings said again beside a model that has a speech tokenizer, with the first seed.

    Args:
        plan: of the system.
        scorer: of the system.
        path: its score file.
    """
    system = scorer.system
    found, remarks = [_reference(TRUTH, path, plan, scorer, Truth())], []
    if isinstance(system, Speaking):
        keep = system.keep / RESYNTHESIS if system.keep else None
        try:
            _ = system.tts.model.speech_tokenizer
            again = Resynthesis(system.tts, system.voice, plan.seeds[:1], keep)
            found.append(_reference(RESYNTHESIS, path, plan, scorer, again, keep))
        except MamTraError as error:
            remarks.append(f"The recordings cannot be said again by {system.about['system']}: {error}")
    return found, remarks


def begin(reference: Reference, lines: TestSet, *, overwrite: bool = False) -> ScoreFile:
    """The score file of a reference; one that was measured in the same way is gone on with, even with `overwrite`.

    Args:
        reference: to measure.
        lines: of the set, all with recordings.
        overwrite: begin a file anew that was measured otherwise.

    Raises:
        MamTraError: the file there was measured otherwise and is not to be overwritten.
    """
    path, stamp = reference.path, stamp_of(reference.scorer, lines)
    fits = path.exists() and read_scores(path).stamp == stamp
    return open_scores(path, stamp, overwrite=overwrite and not fits)


def _reference(
    name: str, path: Path, plan: Plan, scorer: Scorer, system: System, keep: Path | None = None
) -> Reference:
    other = replace(plan, system=name, model=plan.system, seeds=plan.seeds[:1], keep=str(keep) if keep else None)
    return Reference(name, path.with_suffix(f".{name}.jsonl"), other, replace(scorer, system=system))
