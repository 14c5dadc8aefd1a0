"""The measurements of a layer ranking: which ones are made, and on what.

By criterion ``wer`` a layer is as important as the word error rate is high without it (the WLI of SPADE, arXiv 2509.20802, which
MamTra's WER strategy refers to), on free-running speech.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mamtra.conversion.ranking_table import Criterion, Measure, RankingHeader, Row
from mamtra.errors import MamTraError
from mamtra.evaluate.error_rates import Errors, Normaliser, count_errors
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.models.layout import Batch
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking.calibration import batches, own_speech, read_utterances
from mamtra.ranking.criteria import Part, Replacement, all_replaced, block_influence, divergence, stack, with_layers
from mamtra.runtime.files import hash_files
from mamtra.runtime.strict_models import ClosedModel
from mamtra.synthesis.fingerprint import hash_parts, hash_voice
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import Request, speak
from mamtra.synthesis.retries import ONCE
from mamtra.synthesis.sentence import lm_prompt, opening_of, whole_segment
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice


class RankSettings(ClosedModel):
    """Settings that decide the scores.

    Attributes:
        criterion: ``cosine``, ``kl`` or ``wer``.
        part: of a layer, for cosine.
        replace: what takes the place of attention.
        iterative: measure the remaining layers again after each removal.
        utterances: at most so many, of the data or of the sentences.
        every: of the data, take only every so many utterances.
        sample: sample the model's own speech; the most probable token where false.
        seed: of all sampling.
    """

    criterion: Criterion
    part: Part = "block"
    replace: Replacement = "identity"
    iterative: bool = False
    utterances: int = Field(64, ge=1)
    every: int = Field(1, ge=1)
    sample: bool = True
    seed: int = Field(0, ge=0, lt=2**63)


@dataclass(frozen=True)
class WordErrors:
    """How word errors are counted: a transcriber, a normaliser for both sides, and the normaliser's name."""

    transcribe: Transcriber
    normalise: Normaliser
    normaliser: str


def ranking_job(
    model: Model,
    settings: RankSettings,
    *,
    data: Path | None = None,
    sentences: Sequence[str] = (),
    voice: Voice | None = None,
    word_errors: WordErrors | None = None,
) -> tuple[RankingHeader, Measure]:
    """Header and measurements of a table, for `mamtra.conversion.ranking_table.complete`. Nothing is computed before the first one.

    Args:
        model: the model.
        settings: that decide the scores.
        data: calibration file of cosine and kl, see `read_utterances`; the model's own speech where None.
        sentences: that the model speaks, where there is no data.
        voice: that it speaks with.
        word_errors: for wer.

    Raises:
        MamTraError: the model has no attention or lacks a part, wer lacks a voice or a transcriber, or the data does not
            fit.
    """
    candidates = model.lm.config.plan.attention_layers
    if not candidates:
        raise MamTraError("All layers of this model are Mamba already; there is no attention left to rank.")
    spoken = [] if data else _segments(model, sentences[: settings.utterances])
    if settings.criterion == "wer":
        if voice is None or word_errors is None or data is not None:
            raise MamTraError("Word errors need a voice, a transcriber and sentences to speak, and no data.")
        hashes = hash_parts(model)
        digests = {part: hashes[part] for part in ("lm", "flow", "vocoder") if part in hashes}
        digests["voice"] = hash_voice(voice)
        asr = {**word_errors.transcribe.about, "normaliser": word_errors.normaliser}
        about = {"source": "free-running speech", **_about_sentences(spoken), **asr}
        measure = _by_word_errors(model, settings, spoken, voice, word_errors)
    else:
        digests = {"lm": hash_parts(model)["lm"]}
        if data is not None:
            if not data.is_file():
                raise MamTraError(f"There is no calibration file {data}.")
            about = {"source": data.name, "sha256": hash_files(data)[:16]}
        else:
            about = {"source": "the model's own speech", **_about_sentences(spoken)}
            about |= {"voice": hash_voice(voice) if voice else None}
        measure = _by_calibration(model, settings, lambda: _utterances(model, settings, data, spoken, voice))
    if data is None:
        about["generation"] = model.generation.model_dump(mode="json", exclude={"voice"})
    header = RankingHeader(
        name=model.name,
        model=digests,
        criterion=settings.criterion,
        num_layers=model.lm.config.num_hidden_layers,
        candidates=candidates,
        iterative=settings.iterative,
        settings=_relevant(settings, data is not None),
        data=about,
    )
    return header, measure


def _relevant(settings: RankSettings, from_file: bool) -> dict[str, Any]:
    """The settings that change scores of this criterion; others must not keep a run from being continued."""
    unused = {"criterion", "iterative"}
    unused |= {"part"} if settings.criterion != "cosine" else set()
    unused |= {"replace"} if settings.criterion == "cosine" and not settings.iterative else set()
    unused |= {"sample"} if from_file or settings.criterion == "wer" else set()
    unused |= set() if from_file else {"every"}
    return settings.model_dump(mode="json", exclude=unused)


Spoken = list[tuple[str, list[Segment]]]
"""Sentences and the segments that they are spoken in."""


def _segments(model: Model, sentences: Sequence[str]) -> Spoken:
    return [(sentence, model.text.segments(sentence)) for sentence in sentences]


def _utterances(
    model: Model, settings: RankSettings, data: Path | None, spoken: Spoken, voice: Voice | None
) -> list[Batch]:
    config = model.lm.config
    opening, text, speech = lm_prompt(model, voice, ()) if voice else (opening_of(model), [], [])
    if data is not None:
        opening = opening_of(model)
        encode: Callable[[str], list[int]] = lambda words: model.text.encode(words)  # noqa: E731 - loaded when needed
        found = read_utterances(
            data, config, encode, count=settings.utterances, every=settings.every, seed=settings.seed
        )
    else:
        found = own_speech(
            model.engine,
            [segment.ids for _, segments in spoken for segment in segments],
            (text, speech),
            model.generation,
            opening=opening,
            sample=settings.sample,
            seed=settings.seed,
        )
    return batches(found, config.end_target, opening=opening)


def _by_calibration(model: Model, settings: RankSettings, load: Callable[[], list[Batch]]) -> Measure:
    load, replaced = cache(load), cache(lambda: all_replaced(model.lm, settings.replace, settings.seed))

    def measure(gone: Sequence[int], wanted: Sequence[int | None]) -> Iterator[Row]:
        layers = stack(model.lm, replaced() if gone or settings.criterion == "kl" else None, gone)
        if settings.criterion == "cosine":
            found = block_influence(model.lm, layers, load(), settings.part)
            scores: Iterator[tuple[int, float]] = ((i, found[i]) for i in wanted)
        else:
            scores = divergence(model.lm, layers, replaced(), load(), wanted)
        for layer, score in scores:
            yield Row(layer=layer, score=score)

    return measure


def _by_word_errors(
    model: Model, settings: RankSettings, spoken: Spoken, voice: Voice, word_errors: WordErrors
) -> Measure:
    replaced = cache(lambda: all_replaced(model.lm, settings.replace, settings.seed))

    def measure(gone: Sequence[int], wanted: Sequence[int | None]) -> Iterator[Row]:
        for layer in wanted:
            changed = model if layer is None else _with_lm(model, with_layers(model.lm, replaced(), [*gone, layer]))
            errors = Errors()
            for sentence, segments in spoken:
                samples = _speak(changed, voice, segments, settings.seed)
                hypothesis = word_errors.transcribe(samples, model.sample_rate) if len(samples) else ""
                errors += count_errors(sentence, hypothesis, word_errors.normalise)
            yield Row(layer=layer, score=errors.wer, **errors._asdict())

    return measure


def _with_lm(model: Model, lm: SpeechLM) -> Model:
    parts = {"lm": lm, "flow": model.flow, "vocoder": model.vocoder}
    return type(model)(model.directory, model.device, model.dtype, parts)


def _speak(model: Model, voice: Voice, segments: Sequence[Segment], seed: int) -> np.ndarray:
    """What `TTS.say` gives, but each segment is tried once: how often a broken model fails is part of the measure."""
    chunks = speak(Request(model, voice, seed, retries=ONCE), segments, whole_segment)
    return np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in chunks)])


def _about_sentences(spoken: Spoken) -> dict[str, Any]:
    """Their number and a digest of what they say and of the ids that the model reads."""
    read = [(sentence, [(s.ids, s.pause_before) for s in segments]) for sentence, segments in spoken]
    return {"sentences": len(spoken), "sha256": hashlib.sha256(json.dumps(read).encode()).hexdigest()[:16]}
