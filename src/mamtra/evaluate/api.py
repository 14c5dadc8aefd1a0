"""Evaluation in Python: `evaluate` a system on a set, `compare` two score files, `report` several on one page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.evaluate.adapters.open import KEY_VARIABLE, is_foreign
from mamtra.evaluate.html_report import write_report
from mamtra.evaluate.judges.asr import Transcriber, check_english
from mamtra.evaluate.reading import load_scores
from mamtra.evaluate.references import begin, recorded, references
from mamtra.evaluate.run import Job, complete, evaluate_set
from mamtra.evaluate.score_file import ScoreFile, differences
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.summary import compare_scores, summarise
from mamtra.evaluate.systems import GROUND_TRUTH, RESYNTHESIS
from mamtra.evaluate.versa import read_config, write_versa
from mamtra.evaluate.versa_run import run_versa, versa_command
from mamtra.runtime.arguments import checked
from mamtra.runtime.device import pick_device
from mamtra.runtime.locks import file_lock
from mamtra.tts import TTS

Progress = Callable[[str, int, int], None]
"""Called with the name of what is measured ("" for the system itself), utterances done, and their number."""


@dataclass(frozen=True)
class Scores:
    """Scores of a system, and of the reference systems that were measured with it.

    Attributes:
        file: of the system.
        references: score files of "ground_truth" and "resynthesis", where they were measured.
        versa: figures of VERSA's own scorer, by its names.
        remarks: what could not be measured, a sentence each.
    """

    file: ScoreFile
    references: dict[str, ScoreFile] = field(default_factory=dict)
    versa: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The score file."""
        return self.file.path

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """By name: "value", "ci95" (the 95% interval) and "utterances"; names are those of docs/evaluation.md."""
        return summarise(self.file)["figures"]

    def summary(self) -> dict[str, Any]:
        """What `mamtra evaluate --json` prints."""
        found = summarise(self.file)
        found["references"] = {name: summarise(scores) for name, scores in self.references.items()}
        return found | ({"versa": self.versa} if self.versa else {})


@checked
def evaluate(
    system: str | os.PathLike | TTS,
    test_set: str | os.PathLike = "plain",
    *,
    whisper: str | os.PathLike | Transcriber | None,
    output: str | os.PathLike | None = None,
    voice: str | None = None,
    similarity: bool = False,
    encoder: str | None = None,
    rater: str | None = None,
    config: str | os.PathLike | None = None,
    versa: str | os.PathLike | None = None,
    with_versa: bool = False,
    sounds: str | os.PathLike | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    devices: Sequence[str] = (),
    model: str | None = None,
    key_variable: str = KEY_VARIABLE,
    alone: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """Measure how well a system speaks a set. An interrupted run continues where it stopped.

    Where the set has recordings, they are measured too, as they are and resynthesised by the model, into
    NAME.ground_truth.jsonl and NAME.resynthesis.jsonl beside NAME.jsonl.

    Args:
        system: a loaded model, a model directory or name, a folder with ID.wav, "ground_truth" or "resynthesis", or a system that
            is not ours: "openai:URL", "zonos:NAME", "llasa:DIR" or a Python file.
        test_set: see `mamtra.evaluate.sets.read_set`.
        whisper: a Whisper, see `mamtra.evaluate.judges.asr.open_transcriber`, or any transcriber.
        output: score file; SYSTEM.scores.jsonl by default.
        voice: for lines without a prompt.
        similarity: compare speakers with prompt and ground truth.
        encoder: of speakers, see `mamtra.evaluate.judges.optional.open_speaker_encoder`.
        rater: of naturalness, see `mamtra.evaluate.judges.optional.open_rater`; none where None.
        config: VERSA's YAML list of metrics, which decides `similarity` and whether `rater` is used.
        versa: file for the scores in VERSA's form.
        with_versa: run VERSA's own scorer too.
        sounds: folder to keep the sound in.
        limit: only the first lines of the set.
        seeds: of sampling; the whole set is spoken with each.
        workers: processes.
        devices: of the model and the judges; several go to the processes in turn.
        model: that "resynthesis" uses; of a server by its name; the codec of Llasa.
        key_variable: environment variable with the key of a server.
        alone: leave the reference systems out.
        overwrite: replace the score file instead of continuing it.
        progress: see `Progress`.

    Raises:
        MamTraError: a model or file is missing or does not fit, or the score file was measured differently or is in use.
    """
    if not whisper:
        raise MamTraError(
            "Counting word errors needs a transcriber; give a Whisper with --whisper DIR|NAME, such as base (145 MB, fetched "
            "once)."
        )
    if workers > 1 and callable(whisper):
        raise MamTraError(
            "Several processes open the transcriber for themselves; give the folder or name of a Whisper."
        )
    if with_versa:
        versa_command()  # a missing VERSA is reported before a long run
    if workers > 1 and isinstance(system, TTS):
        raise MamTraError("Several processes load the model for themselves; give its directory or name.")
    if config is not None:
        metrics = read_config(Path(config), any_metric=with_versa)
        similarity, rater = "similarity" in metrics, (rater or "distilmos") if "mos" in metrics else None
    lines = read_set(os.fspath(test_set), limit)
    check_english(line.reference for line in lines.lines)
    for device in devices:
        pick_device(device)
    name = str(system.model.directory) if isinstance(system, TTS) else os.fspath(system)
    with_recordings = recorded(lines)
    if name in (GROUND_TRUTH, RESYNTHESIS) and not with_recordings.lines:
        raise MamTraError(f"The set {lines.name} has no recordings of its texts, which {name!r} would be measured on.")
    job = Job(
        system=name, whisper="" if callable(whisper) else os.fspath(whisper), voice=voice,
        seeds=tuple(dict.fromkeys(seeds)), keep=os.fspath(sounds) if sounds else None, devices=tuple(devices),
        model=model, key_variable=key_variable, similarity=similarity, encoder=encoder, rater=rater,
    )  # fmt: skip
    path = Path(output or f"{_file_name(name)}.scores.jsonl")
    scorer = job.open(
        tts=system if isinstance(system, TTS) else None, transcriber=whisper if callable(whisper) else None
    )
    compared = not alone and name not in (GROUND_TRUTH, RESYNTHESIS)
    beside, remarks = references(job, scorer, path) if compared and with_recordings.lines else ([], [])
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path, "evaluation"):
        # a file that does not fit is reported before a long run
        files = {one.name: begin(one, with_recordings, overwrite=overwrite) for one in beside}
        run = evaluate_set(job, lines, path, workers=workers, overwrite=overwrite, scorer=scorer)
        scores = follow(run, progress, "", len(lines.lines) * len(job.seeds))
        for one in beside:
            steps = complete(files[one.name], one.job, with_recordings, one.scorer, workers)
            follow(steps, progress, one.name, len(with_recordings.lines))
    if compared and not with_recordings.lines:
        remarks.append(f"The set {lines.name} has no recordings of its texts to compare with.")
    if versa is not None:
        write_versa(scores, Path(versa))
    figures: dict[str, float] = {}
    if with_versa:
        wanted = ["words", *(["similarity"] if similarity else []), *(["mos"] if rater else [])]
        out, own = path.with_suffix(".versa.jsonl"), Path(config) if config else None
        figures, left_out = run_versa(scores, lines.lines, out, metrics=wanted, config=own)
        remarks += [f"warning: VERSA: {phrase}" for phrase in left_out]
    return Scores(scores, files, figures, tuple(remarks))


@checked
def compare(
    first: str | os.PathLike | ScoreFile | Scores, other: str | os.PathLike | ScoreFile | Scores, *, force: bool = False
) -> dict[str, Any]:
    """Other minus first for every figure that both have, paired by utterance.

    Args:
        first: scores, or a score file of this package or of VERSA.
        other: the same.
        force: compare figures that were measured differently.

    Returns:
        "utterances", "figures" (see `mamtra.evaluate.summary.compare_scores`), and "differs": what was measured differently.

    Raises:
        MamTraError: they were measured differently, or have no utterance in common.
    """
    one, two = _opened(first), _opened(other)
    unlike = differences(one.fingerprint, two.fingerprint)
    if unlike and not force:
        raise MamTraError(f"These files cannot be compared ({'; '.join(unlike)}); --force compares them all the same.")
    return {**compare_scores(one, two), "differs": unlike}


@checked
def report(
    files: Sequence[str | os.PathLike | ScoreFile | Scores], path: str | os.PathLike, *, media: bool = True
) -> Path:
    """Write one HTML page that opens offline, see `mamtra.evaluate.html_report.write_report`.

    Args:
        files: scores; the first is what the others are compared with.
        path: of the page.
        media: include sound and spectrograms, where the sound was kept.

    Raises:
        MamTraError: a score file is missing, damaged or empty.
    """
    return write_report([_opened(one) for one in files], Path(path), media=media)


def _file_name(system: str) -> str:
    """A name for a score file; a system that is not ours has its kind and the last part of its place in it."""
    kind, _, place = system.partition(":") if is_foreign(system) else ("", "", system)
    return "-".join(filter(None, (kind, re.sub(r"[^\w.-]+", "-", Path(place).name)))) or "system"


def _opened(source: str | os.PathLike | ScoreFile | Scores) -> ScoreFile:
    if isinstance(source, Scores):
        return source.file
    return source if isinstance(source, ScoreFile) else load_scores(source)


def follow(steps: Iterator[int], progress: Progress | None = None, name: str = "", total: int = 0) -> ScoreFile:
    """Run to the end; what the run returns."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(name, done, total)
