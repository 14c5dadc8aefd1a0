"""The `TTS` of a front process: it reads text itself; the process with the model speaks the segments."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.serve.model_client import ModelClient
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.pipeline import AudioChunk, Request, check_speed, speak
from mamtra.synthesis.profile import own_steps
from mamtra.text.split import Segment
from mamtra.tts import TTS
from mamtra.voices.voice import Voice


class FrontTTS(TTS):
    """Loads the text front end of a model and none of its networks.

    Args:
        client: speaks.
        directory: of the model.
        generation: its settings, as the process with the model has them.
    """

    def __init__(self, client: ModelClient, directory: str | os.PathLike, generation: GenerationConfig) -> None:
        model = open_model(Path(directory))
        model.generation = generation
        if model.text.reads_letters:
            model.text.rules = generation.text_rules
        super().__init__(model)
        self._client = client
        self.ways = self.ways._replace(whole=self._whole, segment=self._segment)

    def request(self, voice: Voice, seed: int, speed: float, flow_steps: int | None = None) -> Request:
        """See `TTS.request`; the process with the model checks the voice."""
        return Request(self.model, voice, seed, check_speed(speed), flow_steps=own_steps(self.model, flow_steps))

    def stream_bytes(self, text_ids: int | None = None, flow_steps: int | None = None) -> int:
        """See `TTS.stream_bytes`."""
        if text_ids is None and flow_steps is None:
            return self._client.longest_bytes
        return self._client.answer("bytes", ids=text_ids, steps=flow_steps).content["bytes"]

    def clone(self, wav: str | os.PathLike, text: str | None = None, **info: str) -> Voice:
        """See `TTS.clone`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{info['name']}.safetensors"
            made = self._client.answer("clone", wav=os.fspath(wav), text=text, info=info, path=str(path))
            return replace(Voice.load(path), advice=tuple(made.content["advice"]))

    def _segment(self, request: Request, ids: Iterable[int], index: int, **_: object) -> Iterator[AudioChunk]:
        return self._spoken(request, ids, index, whole=False)

    def _whole(self, request: Request, segments: Iterable[Segment], *, ahead: bool) -> Iterator[AudioChunk]:
        return speak(request, segments, partial(self._spoken, whole=True))

    def _spoken(self, request: Request, ids: Iterable[int], index: int, *, whole: bool) -> Iterator[AudioChunk]:
        how = {"seed": request.seed, "speed": request.speed, "steps": request.flow_steps}
        return self._client.speak(request.voice, ids, **how, index=index, whole=whole)
