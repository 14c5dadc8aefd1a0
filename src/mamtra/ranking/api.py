"""Layer ranking in Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from mamtra.conversion.ranking_file import StoredTable, check_place, open_table
from mamtra.conversion.ranking_table import Criterion, complete
from mamtra.errors import MamTraError
from mamtra.evaluate.error_rates import english_normaliser
from mamtra.evaluate.judges import asr
from mamtra.evaluate.sentences import SENTENCES, read_sentences
from mamtra.ranking.criteria import Part, Replacement
from mamtra.ranking.plot import check_plot, plot_ranking
from mamtra.ranking.run import RankSettings, WordErrors, ranking_job
from mamtra.runtime.arguments import checked
from mamtra.runtime.locks import file_lock
from mamtra.tts import TTS
from mamtra.voices.voice import Voice

Progress = Callable[[str, int, int], None]
"""Called with "" and the measurements made and their number."""


@checked
def rank(
    model: str | os.PathLike | TTS,
    criterion: Criterion,
    *,
    output: str | os.PathLike | None = None,
    part: Part = "block",
    replace: Replacement = "identity",
    iterative: bool = False,
    data: str | os.PathLike | None = None,
    every: int = 1,
    utterances: int = 64,
    sentences: str | os.PathLike | None = None,
    voice: str | None = None,
    sample: bool = True,
    whisper: str | os.PathLike | asr.Transcriber | None = None,
    seed: int = 0,
    plot: str | os.PathLike | None = None,
    overwrite: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> StoredTable:
    """Rank the layers of a model by how much it needs their attention. An interrupted run continues where it stopped.

    Args:
        model: a loaded model, or a model directory or name.
        criterion: "cosine", "kl" or "wer", see docs/ranking.md.
        output: the table, .jsonl or .csv; ranking-CRITERION.jsonl by default.
        part: of a layer, for cosine: "block" or "attention".
        replace: what takes the place of attention: "identity" or "mamba".
        iterative: measure the remaining layers again after each removal.
        data: calibration file (.jsonl or .npz) of cosine and kl; the model's own speech where None.
        every: take only every so many utterances of the data.
        utterances: at most so many.
        sentences: file of what the model says, one a line; the list of the package where None.
        voice: that the model speaks with.
        sample: sample the model's own speech; the most probable token where false.
        whisper: for wer, see `mamtra.evaluate.judges.asr.open_transcriber`; or any transcriber.
        seed: of sampling.
        plot: draw the scores, .svg or .png.
        overwrite: replace the table instead of continuing it.
        device: of the model.
        progress: see `Progress`.

    Returns:
        The complete table; `ranking()` gives all layers, the most important first.

    Raises:
        MamTraError: an argument, the model or a file does not serve, or the table there was measured differently or is in use.
    """
    for name, value, known in (
        ("criterion", criterion, get_args(Criterion)),
        ("part", part, get_args(Part)),
        ("replace", replace, get_args(Replacement)),
    ):
        if value not in known:
            raise MamTraError(f"--{name} {value!r} is unknown; choose one of {', '.join(known)}.")
    if criterion == "wer" and data is not None:
        raise MamTraError("--criterion wer measures free-running speech; give --sentences FILE instead of --data.")
    if criterion == "wer" and whisper is None:
        raise MamTraError("--criterion wer needs a transcriber; give a Whisper with --whisper DIR|NAME.")
    path = Path(output or f"ranking-{criterion}.jsonl")
    check_place(path)
    if plot is not None:
        check_plot(plot)
    settings = RankSettings(
        criterion=criterion, part=part, replace=replace, iterative=iterative, utterances=utterances, every=every,
        sample=sample, seed=seed,
    )  # fmt: skip
    tts = model if isinstance(model, TTS) else TTS.load(model, device=device)
    header, measure = ranking_job(
        tts.model,
        settings,
        data=None if data is None else Path(data),
        sentences=() if data else read_sentences(Path(sentences) if sentences else SENTENCES),
        voice=None if data else _voice(tts, voice, criterion),
        word_errors=_word_errors(whisper) if criterion == "wer" else None,
    )
    with file_lock(path, "ranking"):
        table = open_table(path, header, overwrite=overwrite)
        for _ in complete(table, measure):
            if progress is not None:
                progress("", len(table.rows), header.expected)
    if plot is not None:
        plot_ranking(table, plot)
    return table


def _voice(tts: TTS, name: str | None, criterion: Criterion) -> Voice | None:
    """The voice to speak with. For calibration a model without voices speaks without a prompt."""
    if name is None and not tts.voices:
        if criterion == "wer":
            raise MamTraError("This model has no voices to speak with; add one with `mamtra voices add`.")
        return None
    return tts.voice(name)


def _word_errors(whisper: str | os.PathLike | asr.Transcriber) -> WordErrors:
    transcriber = whisper if callable(whisper) else asr.open_transcriber(whisper)
    return WordErrors(transcriber, *english_normaliser())
