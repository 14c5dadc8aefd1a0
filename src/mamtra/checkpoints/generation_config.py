"""Contents of generation_config.json: how a model is to be sampled, and what it was trained to do."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from mamtra.models.sampling_config import GuardConfig, LengthConfig, RASConfig


class GenerationConfig(RASConfig, LengthConfig, GuardConfig):
    """Generation defaults of a model: the settings of the sampler, limits of the length, guards against rows, and those below.

    Attributes:
        flow_steps: Euler steps of the flow, or steps of a few-step flow, see `mamtra.distill.distill_flow`.
        flow_history: mel frames before a chunk that the streaming flow sees besides those of the voice's prompt: 0 for all, else a
            multiple of the frames of a token, and a chunk or more (`mamtra.acoustic.history`).
        voice: the voice to speak with where none is named; without it the first in the alphabet.
        continue_clones: whether the LM continues a cloned recording whose words are known. A model that was trained on few
            speakers says the text more clearly when it does not.
        bistream: whether the LM was trained on text that arrives while it speaks.
        text_rules: how a model that reads subwords normalises and divides text: by this package's rules for English, by those of
            CosyVoice 2, or not at all.
        like_original: speak as the published CosyVoice 2 does: recordings to clone from are not trimmed and resampled by its
            own filter, segments follow each other without trimmed edges and pauses, and no generation is repeated.
        silent_tokens: speech tokens of silence and breath. Of a row of them only the first five are heard; the LM reads all.
            `most_silence` counts them too.
        alignment_head: layer, and head in it, whose attention follows the text from its beginning to its end. With it, a run
            that leaves words out or says them twice is repeated (`mamtra.synthesis.coverage`).
        pace: speech tokens that a text takes: for each text id, and besides. With it and the head, a run that is much shorter is
            repeated too.
        apart: text ids of an opening and a closing quotation mark and of the gap between words, below which all ids are marks. With
            it, repeated runs read a text whose repeated words are set apart (`mamtra.synthesis.repeated_words`).
    """

    flow_steps: PositiveInt = 10
    flow_history: NonNegativeInt = 0
    voice: str | None = None
    continue_clones: bool = True
    bistream: bool = False
    text_rules: Literal["mamtra", "cosyvoice2", "none"] = "mamtra"
    like_original: bool = False
    silent_tokens: tuple[NonNegativeInt, ...] = ()
    alignment_head: tuple[NonNegativeInt, NonNegativeInt] | None = None
    pace: tuple[PositiveFloat, float] | None = None
    apart: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] | None = None
