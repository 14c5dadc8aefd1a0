"""A whole set through the judges, in one process or several, utterance by utterance, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mamtra.evaluate.score_file import ScoreFile, open_scores, row_key
from mamtra.evaluate.scorer import Scorer, Take
from mamtra.evaluate.sets import Line, TestSet


@dataclass(frozen=True)
class Plan:
    """What is to be judged and by whom; plain values, so that every process can open it for itself.

    Attributes:
        system: see `mamtra.evaluate.systems.open_system`.
        whisper: see `mamtra.evaluate.judges.asr.open_transcriber`.
        voice: to speak with where the set gives no prompt.
        seeds: of speaking; with several, every line is spoken once with each.
        keep: folder for what is said.
        devices: of the speaking model and of the judges, one for each process in turn.
        model: that says recordings again, where the system is "resynthesis".
        similarity: whether voices are compared.
        encoder: see `mamtra.evaluate.judges.optional.open_speaker_encoder`; the package's own by default.
        rater: of naturalness, see `mamtra.evaluate.judges.optional.open_rater`; none where None.
    """

    system: str
    whisper: str
    voice: str | None = None
    seeds: tuple[int, ...] = (0,)
    keep: str | None = None
    devices: tuple[str, ...] = ()
    model: str | None = None
    similarity: bool = False
    encoder: str | None = None
    rater: str | None = None

    def device_of(self, process: int) -> str | None:
        """Device of a process: they get the devices in turn; None leaves the choice to the model."""
        return self.devices[process % len(self.devices)] if self.devices else None

    def open(self, threads: int = 2, process: int = 0) -> Scorer:
        """Everything loaded, on the device of a process.

        Raises:
            MamTraError: a model is missing.
        """
        from mamtra.evaluate.judges.asr import open_transcriber
        from mamtra.evaluate.judges.optional import open_rater, open_speaker_encoder
        from mamtra.evaluate.systems import open_system

        keep, device = Path(self.keep) if self.keep else None, self.device_of(process)
        transcriber = open_transcriber(self.whisper, threads, device)
        ears = device or getattr(transcriber, "device", "cpu")
        return Scorer(
            open_system(
                self.system,
                voice=self.voice,
                seeds=self.seeds,
                keep=keep,
                device=device,
                model=self.model,
            ),
            transcriber,
            open_speaker_encoder(self.encoder, ears) if self.similarity else None,
            open_rater(self.rater, ears) if self.rater else None,
        )


def evaluate_set(
    plan: Plan,
    lines: TestSet,
    path: Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    scorer: Scorer | None = None,
) -> Iterator[int]:
    """Judge every line that has no row yet; yields how many are done, returns the score file.

    Lines whose sound is there already go through a transcriber of transformers in batches.

    Args:
        plan: what is judged and by whom.
        lines: the set.
        path: the score file.
        workers: processes; each loads everything for itself.
        overwrite: begin anew.
        scorer: opened already by the plan; with several processes each of the others opens the plan for itself.

    Raises:
        MamTraError: a model is missing, or the file was measured otherwise.
    """
    first = scorer or plan.open()
    scores = open_scores(path, stamp_of(first, lines), overwrite=overwrite)
    return (yield from complete(scores, plan, lines, first, workers))


def complete(scores: ScoreFile, plan: Plan, lines: TestSet, first: Scorer, workers: int = 1) -> Iterator[int]:
    """Judge the lines that a score file has no row of yet; arguments, and what it gives, as for `evaluate_set`."""
    seeds = plan.seeds if len(plan.seeds) > 1 else (None,)
    takes = [(line, seed) for line in lines.lines for seed in seeds]
    waiting = [(line, seed) for line, seed in takes if _key(line, seed) not in scores.rows]
    yield len(scores.rows)
    for row in _rows(plan, first, waiting, workers):
        scores.add(row)
        yield len(scores.rows)
    return scores


def stamp_of(scorer: Scorer, lines: TestSet) -> dict[str, Any]:
    """Stamp of what an scorer measures on a set."""
    from mamtra.version import VERSION

    about = {"mamtra": VERSION, "set": lines.name, "set_sha256": lines.sha256, "lines": len(lines.lines)}
    return {**about, **scorer.stamp}


def _key(line: Line, seed: int | None) -> str:
    return row_key({"id": line.id} if seed is None else {"id": line.id, "seed": seed})


def _rows(plan: Plan, first: Scorer, waiting: list[Take], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1 or len(waiting) < 2:
        for start in range(0, len(waiting), first.at_once):
            yield from first.many(waiting[start : start + first.at_once])
        return
    context = get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(workers, context, _start, (plan, numbers)) as pool:
        for done in as_completed([pool.submit(_examine, *take) for take in waiting]):
            yield done.result()


def _start(plan: Plan, numbers: Any) -> None:
    global _examiner
    import torch

    torch.set_num_threads(1)
    _examiner = plan.open(threads=1, process=numbers.get())


def _examine(line: Line, seed: int | None) -> dict[str, Any]:
    return _examiner(line, seed)
