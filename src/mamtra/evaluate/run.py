"""A whole set through the judges, in one process or several; every row is kept at once, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamtra.evaluate.adapters.open import KEY_VARIABLE
from mamtra.evaluate.score_file import ScoreFile, open_scores, row_key
from mamtra.evaluate.scorer import Scorer, Take
from mamtra.evaluate.sets import Line, TestSet
from mamtra.version import VERSION

if TYPE_CHECKING:
    from mamtra.evaluate.judges.asr import Transcriber
    from mamtra.tts import TTS


@dataclass(frozen=True)
class Job:
    """What is evaluated and by which judges; plain values, so that every process can open it for itself.

    Attributes:
        system: see `mamtra.evaluate.systems.open_system`.
        whisper: see `mamtra.evaluate.judges.asr.open_transcriber`.
        voice: for lines without a prompt.
        seeds: of speaking; with several, every line is spoken once with each.
        keep: folder that the sound is written to.
        devices: of the speaking model and of the judges, one for each process in turn.
        model: of the system "resynthesis", of a server, or the codec of Llasa.
        key_variable: environment variable with the key of a server.
        similarity: whether speakers are compared with prompt and ground truth.
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
    key_variable: str = KEY_VARIABLE
    similarity: bool = False
    encoder: str | None = None
    rater: str | None = None

    def device_of(self, process: int) -> str | None:
        """Device of a process: they get the devices in turn; None leaves the choice to the model."""
        return self.devices[process % len(self.devices)] if self.devices else None

    def open(
        self, threads: int = 2, process: int = 0, *, tts: TTS | None = None, transcriber: Transcriber | None = None
    ) -> Scorer:
        """Everything loaded, on the device of a process.

        Args:
            threads: of the CPU, for the transcriber.
            process: number of the process.
            tts: the model, where it is loaded already.
            transcriber: where it is open already.

        Raises:
            MamTraError: a model is missing.
        """
        from mamtra.evaluate.judges.asr import open_transcriber
        from mamtra.evaluate.judges.optional import open_rater, open_speaker_encoder
        from mamtra.evaluate.systems import Speaking, open_system

        keep, device = Path(self.keep) if self.keep else None, self.device_of(process)
        transcriber = transcriber or open_transcriber(self.whisper, threads, device)
        judges = device or getattr(transcriber, "device", "cpu")
        options = {"voice": self.voice, "seeds": self.seeds, "keep": keep}
        return Scorer(
            Speaking(tts, **options)
            if tts is not None
            else open_system(self.system, **options, device=device, model=self.model, key_variable=self.key_variable),
            transcriber,
            open_speaker_encoder(self.encoder, judges) if self.similarity else None,
            open_rater(self.rater, judges) if self.rater else None,
        )


def evaluate_set(
    job: Job, lines: TestSet, path: Path, *, workers: int = 1, overwrite: bool = False, scorer: Scorer | None = None
) -> Iterator[int]:
    """Judge every line that has no row yet; yields how many are done, returns the score file.

    Sound files are transcribed in batches where the transcriber can.

    Args:
        job: what is evaluated and by which judges.
        lines: the set.
        path: the score file.
        workers: processes; each loads everything for itself.
        overwrite: replace the file.
        scorer: the job, opened already; further processes open it for themselves.

    Raises:
        MamTraError: a model is missing, or the file was measured differently.
    """
    first = scorer or job.open()
    scores = open_scores(path, fingerprint_of(first, lines), overwrite=overwrite)
    return (yield from complete(scores, job, lines, first, workers))


def complete(scores: ScoreFile, job: Job, lines: TestSet, first: Scorer, workers: int = 1) -> Iterator[int]:
    """Judge the lines that a score file has no row of yet; see `evaluate_set`."""
    seeds = job.seeds if len(job.seeds) > 1 else (None,)
    takes = [(line, seed) for line in lines.lines for seed in seeds]
    waiting = [(line, seed) for line, seed in takes if _key(line, seed) not in scores.rows]
    yield len(scores.rows)
    for row in _rows(job, first, waiting, workers):
        scores.add(row)
        yield len(scores.rows)
    return scores


def fingerprint_of(scorer: Scorer, lines: TestSet) -> dict[str, Any]:
    """Fingerprint of what a scorer measures on a set."""
    about = {"mamtra": VERSION, "set": lines.name, "set_sha256": lines.sha256, "lines": len(lines.lines)}
    return {**about, **scorer.fingerprint}


def _key(line: Line, seed: int | None) -> str:
    return row_key({"id": line.id} if seed is None else {"id": line.id, "seed": seed})


def _rows(job: Job, first: Scorer, waiting: list[Take], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1 or len(waiting) < 2:
        for start in range(0, len(waiting), first.batch_size):
            yield from first.many(waiting[start : start + first.batch_size])
        return
    context = get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(workers, context, _start, (job, numbers)) as pool:
        for done in as_completed([pool.submit(_score, *take) for take in waiting]):
            yield done.result()


def _start(job: Job, numbers: Any) -> None:
    global _scorer
    import torch

    torch.set_num_threads(1)
    _scorer = job.open(threads=1, process=numbers.get())


def _score(line: Line, seed: int | None) -> dict[str, Any]:
    return _scorer(line, seed)
