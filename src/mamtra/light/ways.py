"""How each runtime speaks: the functions that `mamtra.tts` calls, whatever computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mamtra.synthesis.pipeline import AudioChunk, Request, speak
from mamtra.text.split import Segment

if TYPE_CHECKING:
    from mamtra.light.model import LightModel
    from mamtra.synthesis.batch import Batch
    from mamtra.synthesis.model import Model
    from mamtra.synthesis.prompt_store import PromptStore
    from mamtra.synthesis.voice_conversion import SamplesOf


class Ways(NamedTuple):
    """How a runtime speaks.

    Attributes:
        prepare: begin to open what speaking needs, of a request where it is known, while something else is done.
        whole: a request and segments to one chunk a segment; `ahead`: the text is complete, so that segments may be read early.
        segment: the backend that gives a segment chunk by chunk.
        samples: speech tokens of a voice to samples.
        batch: what many texts go through.
        prompts: flow streams behind the prompts of voices.
    """

    prepare: Callable[..., None]
    whole: Callable[..., Iterator[AudioChunk]]
    segment: Callable[..., Iterator[AudioChunk]]
    samples: SamplesOf
    batch: Callable[[], Batch]
    prompts: PromptStore[Any]


def ways_of(model: Model | LightModel) -> Ways:
    """Those of the runtime of a model."""
    if model.arrays == "numpy":
        from mamtra.light import speaking
        from mamtra.light.batch import Batch

        prompts = speaking.prompt_store(model)
        opening = partial(speaking.open_parts, model=model, prompts=prompts)
        ways = speaking.speak_whole, speaking.stream_segment, speaking.tokens_to_samples
        return Ways(opening, *(partial(way, prompts=prompts) for way in ways), partial(Batch, model, prompts), prompts)
    from mamtra.synthesis.batch import Batch
    from mamtra.synthesis.sentence import whole_segment
    from mamtra.synthesis.streaming import prompt_store, stream_segment
    from mamtra.synthesis.token2wav import tokens_to_samples

    def whole(request: Request, segments: Iterable[Segment], *, ahead: bool) -> Iterator[AudioChunk]:
        return speak(request, segments, whole_segment)

    prompts = prompt_store(model)
    segment = partial(stream_segment, prompts=prompts)
    return Ways(lambda _=None: None, whole, segment, tokens_to_samples, partial(Batch.of, model), prompts)
