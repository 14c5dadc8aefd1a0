"""One sentence to sound: tokens from the LM, mel from the flow, samples from the vocoder, and guards around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from mamtra.engine.bistream import BistreamGeneration, generate_bistream
from mamtra.engine.generate import Generation, generate
from mamtra.engine.sampling import RASConfig, ras_sample
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.voices.voice import Voice

ATTEMPTS = 3
MIN_SPEED, MAX_SPEED = 0.5, 2.0
_SEGMENT_STRIDE = 1_000_003
_ATTEMPT_STRIDE = 7_919


@dataclass(frozen=True)
class AudioChunk:
    """Sound of one segment.

    Attributes:
        samples: float32 (T,) in [-1, 1].
        tokens: speech tokens spoken.
        finish_reason: "eos", or "length" where every attempt ran into the length limit.
        attempts: how many times the LM was run.
    """

    samples: np.ndarray
    tokens: int
    finish_reason: str
    attempts: int


def segment_seed(seed: int, index: int, attempt: int = 0) -> int:
    """Seed of one segment: its sound depends on the seed and its place, not on what was drawn for segments before."""
    return (seed + index * _SEGMENT_STRIDE + attempt * _ATTEMPT_STRIDE) % 2**63


def check_speed(speed: float) -> float:
    """Refuse a speed outside 0.5 .. 2.

    Raises:
        MamTraError: it is outside, or not a number.
    """
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise MamTraError(f"Speed {speed:g} is out of range; choose {MIN_SPEED:g} to {MAX_SPEED:g}.")
    return float(speed)


def check_voice(model: Model, voice: Voice) -> Voice:
    """Refuse a voice whose numbers the model has no place for, as damaged files and those of other models have.

    Raises:
        MamTraError: an id outside the model's tables, or an embedding of another size.
    """
    lm, size = model.lm.config, model.flow.config.spk_embed_dim
    ids = ((voice.prompt_text, lm.text_vocab_size), (voice.prompt_speech, lm.num_speech_tokens))
    outside = any(part.numel() and not 0 <= int(part.min()) <= int(part.max()) < rows for part, rows in ids)
    if outside or voice.embedding.numel() != size:
        what = (
            "ids outside the model's tables"
            if outside
            else f"an embedding of {voice.embedding.numel()}, not {size} numbers"
        )
        raise MamTraError(
            f"The voice {voice.name!r} has {what}; it is damaged or was made for another model, so make it again."
        )
    return voice


def speak_segment(
    model: Model, voice: Voice, text_ids: list[int], *, seed: int, index: int = 0, speed: float = 1.0
) -> AudioChunk:
    """Speak one segment.

    A run of the LM that does not come to an end or says nothing is repeated with the next seed, at most `ATTEMPTS` runs
    in all; of runs without end the shortest is kept.

    Args:
        text_ids: of the segment, without the prompt.
        seed: of the whole request; with `index` it fixes the result.
        index: place of the segment in the request.
        speed: 0.5 (slow) to 2 (fast).

    Raises:
        MamTraError: no attempt gave any speech, or the sound is not finite.
    """
    kept: tuple[list[int], str, int] | None = None
    for attempt in range(ATTEMPTS):
        generator = torch.Generator().manual_seed(segment_seed(seed, index, attempt))
        codes, reason = generate_tokens(model, voice, text_ids, generator)
        better = kept is None or (reason == "eos" and kept[1] != "eos") or len(codes) < len(kept[0])
        if codes and better:
            kept = (codes, reason, attempt)
        if codes and reason == "eos":
            break
    if kept is None:
        raise MamTraError("The model made no speech for a sentence; try another seed or voice.")
    codes, reason, attempt = kept
    samples = tokens_to_samples(model, voice, codes, seed=segment_seed(seed, index, attempt), speed=speed)
    if not np.isfinite(samples).all():
        raise MamTraError("The model made sound that is not a number; its weights are damaged or overflow.")
    return AudioChunk(samples, len(codes), reason, attempt + 1)


def generate_tokens(
    model: Model, voice: Voice, text_ids: list[int], generator: torch.Generator
) -> tuple[list[int], str]:
    """One run of the LM.

    Returns:
        speech codes, and why they end: "eos" or "length".
    """
    run = start_run(model, voice, text_ids, generator)
    codes = list(run)
    return codes, str(run.finish_reason)


def start_run(model: Model, voice: Voice, text_ids: list[int], generator: torch.Generator) -> Generation:
    """One run of the LM, to be iterated over."""
    settings = model.generation
    return generate(
        model.lm,
        text_ids,
        *voice.lm_prompt,
        generator=generator,
        min_ratio=settings.min_ratio,
        max_ratio=settings.max_ratio,
        sampler=partial(ras_sample, config=sampling_of(model)),
        step=model.lm_step,
    )


def start_interleaved(
    model: Model, voice: Voice, text_ids: Iterable[int], generator: torch.Generator
) -> BistreamGeneration:
    """One run of the LM while its text is arriving, to be iterated over."""
    return generate_bistream(
        model.lm,
        text_ids,
        *voice.lm_prompt,
        generator=generator,
        max_ratio=model.generation.max_ratio,
        sampler=partial(ras_sample, config=sampling_of(model)),
        step=model.lm_step,
    )


def sampling_of(model: Model) -> RASConfig:
    """The model's settings of the sampler."""
    settings = model.generation
    return RASConfig(top_p=settings.top_p, top_k=settings.top_k, win_size=settings.win_size, tau_r=settings.tau_r)
