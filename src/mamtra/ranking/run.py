"""Layer importance of a model directory: which measurements `mamtra rank` makes, and on what.

By word errors a layer counts as much as the speech suffers without it (the WLI of SPADE, arXiv 2509.20802, which MamTra's WER
strategy points to): the model speaks freely, and a transcriber counts.
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
import torch
from pydantic import BaseModel, ConfigDict, Field

from mamtra.audio.trim import prepare_segment
from mamtra.checkpoints.native import base_of, find_beside, hash_file, hash_model
from mamtra.checkpoints.parts import PARTS
from mamtra.conversion.ranking_table import Criterion, Measure, RankingHeader, Row
from mamtra.errors import MamTraError
from mamtra.evaluate.error_rates import Errors, Normaliser, count_errors
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.models.layout import Batch
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking.calibration import batches, own_speech, read_utterances
from mamtra.ranking.criteria import (
    Part,
    Replacement,
    all_replaced,
    block_influence,
    divergence,
    stack,
    with_layers,
)
from mamtra.synthesis.model import Model
from mamtra.synthesis.sentence import generate_tokens, segment_seed, tokens_to_samples
from mamtra.voices.voice import Voice


class RankSettings(BaseModel):
    """What decides the scores.

    Attributes:
        criterion: ``cosine``, ``kl`` or ``wer``.
        part: of a layer, for cosine.
        replace: what takes the place of attention.
        iterative: measure the remaining layers again after each removal.
        utterances: at most so many, of the data or of the sentences.
        every: take part in the draw of utterances only every so often.
        sample: own speech is drawn, not the most probable code each time.
        seed: of all draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    criterion: Criterion
    part: Part = "block"
    replace: Replacement = "identity"
    iterative: bool = False
    utterances: int = Field(64, ge=1)
    every: int = Field(1, ge=1)
    sample: bool = True
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Judge:
    """What hears and compares: a transcriber, a normaliser for both sides, and the normaliser's name."""

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
    judge: Judge | None = None,
) -> tuple[RankingHeader, Measure]:
    """What is to be measured, for `mamtra.conversion.ranking_table.complete`. Nothing heavy runs before the first measurement.

    Args:
        model: the model.
        settings: what decides the scores.
        data: calibration file of cosine and kl, see `read_utterances`; without it the model is measured on its own
            speech.
        sentences: what the model says otherwise.
        voice: that it speaks with.
        judge: for wer.

    Raises:
        MamTraError: the model has no attention or lacks a part, there is no voice or judge where one is needed, or the
            data does not serve.
    """
    candidates = model.lm.config.plan.attention_layers
    if not candidates:
        raise MamTraError("All layers of this model are Mamba already; there is no attention left to rank.")
    spoken = [] if data else _segments(model, sentences[: settings.utterances])
    if settings.criterion == "wer":
        if voice is None or judge is None or data is not None:
            raise MamTraError(
                "Word errors need a voice, a transcriber and sentences to speak; data has no part in them."
            )
        digests = {**_all_parts(model), "voice": _digest_voice(voice)}
        heard = {**judge.transcribe.about, "normaliser": judge.normaliser}
        about = {"source": "free-running speech", **_about_sentences(spoken), **heard}
        measure = _by_word_errors(model, settings, spoken, voice, judge)
    else:
        digests = {"lm": hash_file(find_beside(model.directory, PARTS["lm"].file))}
        if data is not None:
            about = {"source": data.name, "sha256": _digest_file(data)}
        else:
            about = {"source": "the model's own speech", **_about_sentences(spoken)}
            about |= {"voice": _digest_voice(voice) if voice else None}
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
        settings=_deciding(settings, data is not None),
        data=about,
    )
    return header, measure


def _deciding(settings: RankSettings, from_file: bool) -> dict[str, Any]:
    """The settings that change scores of this criterion; others must not keep a run from going on."""
    unused = {"criterion", "iterative"}
    unused |= {"part"} if settings.criterion != "cosine" else set()
    unused |= {"replace"} if settings.criterion == "cosine" and not settings.iterative else set()
    unused |= {"sample"} if from_file or settings.criterion == "wer" else set()
    unused |= set() if from_file else {"every"}
    return settings.model_dump(mode="json", exclude=unused)


Spoken = list[tuple[str, list[tuple[list[int], float]]]]
"""Sentences with the text ids of each segment and the pause before it in seconds."""


def _segments(model: Model, sentences: Sequence[str]) -> Spoken:
    text = model.text
    return [(s, [(text.encode(part.text), part.pause_before) for part in text.segments(s)]) for s in sentences]


def _utterances(
    model: Model, settings: RankSettings, data: Path | None, spoken: Spoken, voice: Voice | None
) -> list[Batch]:
    config = model.lm.config
    if data is not None:
        encode: Callable[[str], list[int]] = lambda words: model.text.encode(words)  # noqa: E731 - loaded when needed
        found = read_utterances(
            data, config, encode, count=settings.utterances, every=settings.every, seed=settings.seed
        )
    else:
        found = own_speech(
            model.lm,
            [ids for _, segments in spoken for ids, _ in segments],
            voice and voice.lm_prompt,
            model.generation,
            sample=settings.sample,
            seed=settings.seed,
            step=model.lm_step,
        )
    return batches(found, config.eos_id)


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


def _by_word_errors(model: Model, settings: RankSettings, spoken: Spoken, voice: Voice, judge: Judge) -> Measure:
    replaced = cache(lambda: all_replaced(model.lm, settings.replace, settings.seed))

    def measure(gone: Sequence[int], wanted: Sequence[int | None]) -> Iterator[Row]:
        for layer in wanted:
            changed = model if layer is None else _with_lm(model, with_layers(model.lm, replaced(), [*gone, layer]))
            errors = Errors()
            for sentence, segments in spoken:
                samples = _speak(changed, voice, segments, settings.seed)
                hypothesis = judge.transcribe(samples, model.sample_rate) if len(samples) else ""
                errors += count_errors(sentence, hypothesis, judge.normalise)
            yield Row(layer=layer, score=errors.wer, **errors._asdict())

    return measure


def _with_lm(model: Model, lm: SpeechLM) -> Model:
    parts = {"lm": lm, "flow": model.flow, "vocoder": model.vocoder}
    return type(model)(model.directory, model.device, model.dtype, parts)


def _speak(model: Model, voice: Voice, segments: Sequence[tuple[list[int], float]], seed: int) -> np.ndarray:
    """What `TTS.say` gives, but each segment is tried once: how often a broken model fails is part of the measure."""
    pieces = [np.zeros(0, np.float32)]
    for index, (ids, pause) in enumerate(segments):
        number = segment_seed(seed, index)
        codes, _ = generate_tokens(model, voice, ids, torch.Generator().manual_seed(number))
        if codes:
            samples = tokens_to_samples(model, voice, codes, seed=number)
            pieces.append(prepare_segment(samples, model.sample_rate, pause))
    return np.concatenate(pieces)


def _about_sentences(spoken: Spoken) -> dict[str, Any]:
    """Their number and a digest of what they say and of the ids that the model reads."""
    return {"sentences": len(spoken), "sha256": hashlib.sha256(json.dumps(spoken).encode()).hexdigest()[:16]}


def _all_parts(model: Model) -> dict[str, str]:
    base = base_of(model.directory)
    found = {**(hash_model(base) if base else {}), **hash_model(model.directory)}
    return {section: found[section] for section in ("lm", "flow", "vocoder") if section in found}


def _digest_voice(voice: Voice) -> str:
    digest = hashlib.sha256()
    for tensor in (voice.prompt_text, voice.prompt_speech, voice.prompt_mel, voice.embedding):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest_file(path: Path) -> str:
    if not path.is_file():
        raise MamTraError(f"There is no calibration file {path}.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
