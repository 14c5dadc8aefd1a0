"""A whole set spoken at once: all segments side by side through the language model, a few at a time through flow and vocoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from mamtra.audio.trim import prepare_segment
from mamtra.engine.batch import generate_batch
from mamtra.engine.sampling import ras_sample_rows
from mamtra.synthesis.model import Model
from mamtra.synthesis.sentence import sampling_of, segment_seed
from mamtra.synthesis.token2wav import batch_to_samples
from mamtra.voices.voice import Voice

SOUNDS = {"cuda": 64, "cpu": 16}
"""Segments in one call of the flow, by the kind of device."""


def speak_texts(
    model: Model, voice: Voice, texts: Sequence[str], *, seed: int = 0, rows: int = 128
) -> Iterator[tuple[int, np.ndarray]]:
    """Every text by number and as samples (T,), empty where the model said nothing; in no particular order.

    The text is cut, sampled and joined as in `TTS.say`, but each segment is tried once: how often a model fails is part of
    what is measured. Draws differ from those of `TTS.say`.

    Args:
        model: on its device.
        voice: to speak with.
        texts: to say.
        seed: of the draws.
        rows: segments side by side.
    """
    segments = [
        (number, index, model.text.encode(part.text), part.pause_before)
        for number, text in enumerate(texts)
        for index, part in enumerate(model.text.segments(text))
    ]
    by_length = sorted(range(len(segments)), key=lambda at: len(segments[at][2]))
    generator = torch.Generator(model.device).manual_seed(seed)
    settings, codes = model.generation, dict[int, list[int]]()
    for start in range(0, len(by_length), rows):
        chosen = by_length[start : start + rows]
        ids = [segments[at][2] for at in chosen]
        found = generate_batch(
            model.lm,
            ids,
            *voice.lm_prompt,
            shortest=[int(len(text) * settings.min_ratio) for text in ids],
            longest=[int(len(text) * settings.max_ratio) for text in ids],
            sampler=partial(ras_sample_rows, generator=generator, config=sampling_of(model)),
        )
        codes |= {at: row.tokens for at, row in zip(chosen, found, strict=True)}
    pieces = {at: np.zeros(0, np.float32) for at in codes}
    speaking = sorted((at for at in codes if codes[at]), key=lambda at: len(codes[at]))
    together = SOUNDS.get(model.device.type, SOUNDS["cpu"])
    for start in range(0, len(speaking), together):
        chosen = speaking[start : start + together]
        seeds = [segment_seed(seed, segments[at][1]) for at in chosen]
        sound = batch_to_samples(model, [voice] * len(chosen), [codes[at] for at in chosen], seeds=seeds)
        for at, samples in zip(chosen, sound, strict=True):
            pieces[at] = prepare_segment(samples, model.sample_rate, segments[at][3])
    for number in range(len(texts)):
        mine = [pieces[at] for at, segment in enumerate(segments) if segment[0] == number]
        yield number, np.concatenate([np.zeros(0, np.float32), *mine])
