"""The one way from a request of any protocol to speech: checks, a slot, a thread that speaks."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.runtime.memory import free_memory
from mamtra.runtime.printable import printable
from mamtra.serve.admission import Admission, Ticket, admission_of
from mamtra.serve.encoders import MORE_RATES, RATES, Marked, Streamed, Whole, check_format
from mamtra.serve.errors import ApiError
from mamtra.serve.gate import Gate, Playback
from mamtra.serve.keys import Key
from mamtra.serve.live import TextFeed, live_chunks
from mamtra.serve.memory import FRACTION, bytes_needed
from mamtra.serve.metrics import Metrics
from mamtra.serve.names import OPENAI_MODELS, VoiceNames
from mamtra.serve.settings import ServeSettings
from mamtra.serve.speaking import Piece, Speaking
from mamtra.synthesis.live_words import WordTimes
from mamtra.synthesis.profile import own_steps
from mamtra.synthesis.spans import Span, moved
from mamtra.synthesis.word_times import phoneme_weights, space_of
from mamtra.text.bpe import BpeFrontend

if TYPE_CHECKING:
    from mamtra.synthesis.audio import Audio
    from mamtra.tts import TTS

log = logging.getLogger("mamtra.serve")
LARGEST_SEED = 2**63 - 1
MOST_FLOW_STEPS = 32
"""That a client may ask for; more sound alike and take long."""


@dataclass(frozen=True)
class Order:
    """A text that is to be spoken, checked.

    Attributes:
        voice: name of a voice that is here, or None for the model's own.
        seed: of the draws.
        speed: 0.5 (slow) to 2 (fast).
        instruct: how to speak; None where the model follows no instructions.
        fmt: format of the sound.
        rate: sample rate of the sound, Hz.
        whole: one complete file, of the quality of `TTS.say`.
        flow_steps: as in `TTS.say`.
    """

    voice: str | None
    seed: int
    speed: float
    instruct: str | None
    fmt: str
    rate: int
    whole: bool = False
    flow_steps: int | None = None


class Speaker:
    """Speaks for all protocols; belongs to one event loop.

    Args:
        tts: the model.
        settings: of the server.
        metrics: that are kept; new ones by default.
        admission: who may speak; by default its own, with figures of it.

    Attributes:
        ready: whether the model is warm.
        word_weight: how long a word takes in comparison to others.
        space: text id between words, where it is known.
    """

    def __init__(
        self, tts: TTS, settings: ServeSettings, metrics: Metrics | None = None, admission: Admission | None = None
    ) -> None:
        metrics = metrics or Metrics()
        self.tts, self.settings, self.metrics = tts, settings, metrics
        self.names = VoiceNames(tts.voices, settings.aliases)
        self.admission = admission or admission_of(settings)
        self.gate = Gate(computed_at_once(tts, settings))
        self.ready = False
        self.word_weight, self.space = phoneme_weights(tts.model.text), space_of(tts.model.text)
        self._threads = ThreadPoolExecutor(settings.streams, thread_name_prefix="mamtra-speak")
        if admission is None:
            metrics.watch(self.admission, tts)

    @property
    def models(self) -> list[str]:
        """Names of models that clients may ask for; unless the server is strict, any other is served too."""
        return [self.tts.model.name, *(() if self.settings.strict_models else OPENAI_MODELS)]

    def check_model(self, name: str | None) -> None:
        """Refuse an unknown model where the server is strict.

        Raises:
            ApiError: it is unknown.
        """
        if self.settings.strict_models and name not in (None, *self.models):
            message = f"There is no model {printable(name)!r}; use {', '.join(self.models)}."
            raise ApiError(404, message, param="model", code="model_not_found")

    def order(
        self,
        *,
        voice: str | None = None,
        seed: int | None = None,
        speed: float = 1.0,
        instructions: str | None = None,
        language: str | None = None,
        fmt: str = "mp3",
        rate: int | None = None,
        whole: bool = False,
        flow_steps: int | None = None,
    ) -> Order:
        """Check what a client asks for.

        Raises:
            ApiError: for what cannot be done, in one sentence.
        """
        if not 0.5 <= speed <= 2:
            raise ApiError(400, f"speed {speed:g} is out of range; use 0.5 to 2.", param="speed", code="invalid_value")
        own = self.tts.sample_rate
        if rate is not None and rate not in (own, *RATES, *(() if fmt == "opus" else MORE_RATES)):
            known = ", ".join(map(str, RATES))
            raise ApiError(400, f"sample_rate {rate} is not served; use one of {known}.", param="sample_rate")
        if language and not self._follows_instructions and language.lower().replace("_", "-").split("-")[0] != "en":
            message = f"The model {self.tts.model.name} speaks English, not {printable(language)!r}; use en."
            raise ApiError(400, message, param="language", code="unsupported_language")
        return Order(
            voice=self.names.find(voice, self.tts.voices),
            seed=secrets.randbelow(2**31) if seed is None else seed,
            speed=speed,
            instruct=(instructions or None) if self._follows_instructions else None,
            fmt=check_format(fmt),
            rate=rate or own,
            whole=whole,
            flow_steps=check_flow_steps(self.tts, flow_steps),
        )

    def check_text(self, text: str) -> str:
        """Refuse a text that is empty or too long.

        Raises:
            ApiError: it is.
        """
        if not text.strip():
            raise ApiError(400, "There is no text to speak.", param="input", code="empty_input")
        most = self.settings.most_characters
        if len(text) > most:
            message = f"The text has {len(text):,} characters; at most {most:,} fit, so split it."
            raise ApiError(400, message, param="input", code="string_above_max_length")
        return text

    @asynccontextmanager
    async def speak(self, text: str | TextFeed, order: Order, key: Key | None) -> AsyncIterator[Speaking]:
        """Speak within; what nobody wants any more at the end is cancelled.

        Args:
            text: whole, or still arriving.
            order: how to speak it.
            key: whose slot it takes.

        Raises:
            ApiError: see `Admission.enter`.
        """
        playback = Playback()
        ticket = await self._admit(key, await bytes_needed(self.tts, self.admission, text, order.flow_steps))

        def ended(speaking: Speaking) -> None:
            ticket.leave()
            self.metrics.ended(speaking.spoken)

        encoder = (Whole if order.whole else Streamed)(self.tts.sample_rate, order.rate, order.fmt)
        if self.settings.watermark is not None:
            encoder = Marked(encoder, self.tts.sample_rate, self.settings.watermark)
        speaking = Speaking(self._chunks(text, order, playback), encoder, self.gate, playback, ended).start(
            self._threads
        )
        try:
            yield speaking
        finally:
            speaking.cancel()
            if isinstance(text, TextFeed):
                text.end()  # its thread may be waiting for more

    async def first_piece(self, speaking: Speaking) -> Piece:
        """The first piece with bytes. Audio has to begin in time; what a format holds back may take longer.

        Raises:
            ApiError: it took too long, or there is no audio at all.
            Exception: whatever went wrong.
        """
        left = self.settings.first_audio_seconds - speaking.playback.age
        try:
            piece = await asyncio.wait_for(anext(speaking, None), max(0.1, left))
        except asyncio.TimeoutError as error:
            message = f"There was no audio within {self.settings.first_audio_seconds:g} s; try again later."
            raise ApiError(503, message, code="overloaded", headers={"Retry-After": "5"}) from error
        text, seconds, spans = "", 0.0, list[Span]()
        while piece is not None:
            spans += moved(piece.spans, seconds)
            text, seconds = text + piece.text, seconds + piece.seconds
            if piece.data:
                return Piece(piece.data, seconds, text, piece.final, tuple(spans))
            piece = await anext(speaking, None)
        raise ApiError(500, "The model made no audio for this text; try another seed.", code="no_audio")

    def word_times(self, order: Order) -> WordTimes:
        """Of a text that is being spoken."""
        return WordTimes(self.word_weight, order.speed, self.space)

    def count_text(self, text: str) -> int:
        """Number of text ids that the model reads for a text."""
        return sum(len(segment.ids) for segment in self.tts.model.text.segments(text))

    def warm_up(self) -> None:
        """Load what speaking needs, and speak a few words with every voice. Takes seconds.

        Raises:
            MamTraError: no voice can speak.
        """
        warm_up(self.tts, self.admission)
        self.ready = True

    def close(self) -> None:
        """Wait for the threads; nothing may be spoken afterwards."""
        self._threads.shutdown(cancel_futures=True)

    async def _admit(self, key: Key | None, need: int) -> Ticket:
        try:
            return await self.admission.enter(key, need)
        except ApiError as error:
            self.metrics.refused(error.code or "")
            raise

    def _chunks(self, text: str | TextFeed, order: Order, playback: Playback) -> Callable[[], Iterator[Audio]]:
        if isinstance(text, TextFeed):
            return lambda: live_chunks(self.tts, text, order, lambda: self.gate.aside(playback))
        options = {"instruct": order.instruct, "seed": order.seed, "speed": order.speed, "flow_steps": order.flow_steps}
        return lambda: self.tts.stream(text, order.voice, whole_sentences=order.whole, **options)

    @property
    def _follows_instructions(self) -> bool:
        return isinstance(self.tts.model.text, BpeFrontend)


def check_flow_steps(tts: TTS, steps: int | None) -> int | None:
    """The number of steps that a client asks for; None where it is the model's own.

    Raises:
        ApiError: the flow cannot take so many, or they would keep others waiting.
    """
    if steps is None:
        return None
    most = max(MOST_FLOW_STEPS, tts.model.generation.flow_steps)
    try:
        if not 1 <= steps <= most and not tts.model.config["flow"].get("trained_steps"):
            raise MamTraError(f"flow_steps {steps} is out of range; use 1 to {most}.")
        return own_steps(tts.model, steps)
    except MamTraError as error:
        raise ApiError(400, str(error), param="flow_steps", code="invalid_value") from error


def computed_at_once(tts: TTS, settings: ServeSettings) -> int:
    """Chunks of audio that are computed side by side."""
    return settings.hops_at_once or (settings.streams if tts.model.joins_hops else min(4, os.cpu_count() or 1))


def warm_up(tts: TTS, admission: Admission) -> None:
    """Load what speaking needs, speak a few words with every voice, and see how much memory is left. Takes seconds.

    Raises:
        MamTraError: no voice can speak.
    """
    failed: MamTraError | None = None
    spoken = list[str]()
    for voice in tts.voices or [None]:
        try:
            for _ in tts.stream("Hello there.", voice):
                pass
            spoken += [voice] if voice else []
        except MamTraError as error:  # a damaged voice does not keep the others from speaking
            log.warning("The voice %s cannot speak: %s", voice, error)
            failed = error
    if failed is not None and not spoken:
        raise failed
    tts.warm_up(spoken)
    if admission.budget is None and (free := free_memory(str(tts.model.device))) is not None:
        admission.budget = round(FRACTION * free)
