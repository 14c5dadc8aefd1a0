"""Reference systems that a model's figures are read against: the set's recordings, and their resynthesis by the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mamtra.errors import MamTraError
from mamtra.evaluate.run import Job, fingerprint_of
from mamtra.evaluate.score_file import ScoreFile, open_scores, read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import TestSet
from mamtra.evaluate.systems import GROUND_TRUTH, RESYNTHESIS, GroundTruth, Resynthesis, Speaking, System


class Reference(NamedTuple):
    """A system to measure beside another one, by the same judges.

    Attributes:
        name: "ground_truth" or "resynthesis".
        path: of its score file: NAME.ground_truth.jsonl beside NAME.jsonl.
        job: of it, for further processes.
        scorer: of it.
    """

    name: str
    path: Path
    job: Job
    scorer: Scorer


def recorded(lines: TestSet) -> TestSet:
    """The lines of a set that have a recording."""
    return replace(lines, lines=tuple(line for line in lines.lines if line.ground_truth))


def references(job: Job, scorer: Scorer, path: Path) -> tuple[list[Reference], list[str]]:
    """What to measure beside a system, with the judges that are open already, and a sentence for what cannot be measured.

    The ground truth goes with any system; the resynthesis, with the first seed, with a model that has a speech tokenizer.
    """
    system = scorer.system
    found, remarks = [_reference(GROUND_TRUTH, path, job, scorer, GroundTruth())], []
    if isinstance(system, Speaking):
        keep = system.keep / RESYNTHESIS if system.keep else None
        try:
            _ = system.tts.model.speech_tokenizer
            other = Resynthesis(system.tts, system.voice, job.seeds[:1], keep)
            found.append(_reference(RESYNTHESIS, path, job, scorer, other, keep))
        except MamTraError as error:
            remarks.append(f"{system.about['system']} cannot resynthesise the recordings: {error}")
    return found, remarks


def begin(reference: Reference, lines: TestSet, *, overwrite: bool = False) -> ScoreFile:
    """The score file of a reference; one that was measured in the same way is continued, even with `overwrite`.

    Args:
        reference: to measure.
        lines: of the set, all with recordings.
        overwrite: replace a file that was measured differently.

    Raises:
        MamTraError: the file there was measured differently and is not to be overwritten.
    """
    path, fingerprint = reference.path, fingerprint_of(reference.scorer, lines)
    fits = path.exists() and read_scores(path).fingerprint == fingerprint
    return open_scores(path, fingerprint, overwrite=overwrite and not fits)


def _reference(name: str, path: Path, job: Job, scorer: Scorer, system: System, keep: Path | None = None) -> Reference:
    other = replace(job, system=name, model=job.system, seeds=job.seeds[:1], keep=str(keep) if keep else None)
    return Reference(name, path.with_suffix(f".{name}.jsonl"), other, replace(scorer, system=system))
