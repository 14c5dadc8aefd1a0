"""The public API: load a model, say or stream a text, clone a voice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import get_args

import torch

from mamtra.audio.io import SUFFIXES
from mamtra.checkpoints.find import find_model
from mamtra.errors import MamTraError
from mamtra.runtime.device import pick_device
from mamtra.synthesis.audio import Audio
from mamtra.synthesis.batch import Batch
from mamtra.synthesis.cloning import clone_voice
from mamtra.synthesis.model import Model
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.pipeline import AudioChunk, Backend, Request, check_speed, check_voice, speak
from mamtra.synthesis.sentence import whole_segment
from mamtra.synthesis.streaming import HopSchedule, PromptStore, stream_segment
from mamtra.text.bistream_text import Utterance, utterances
from mamtra.text.bpe import BpeFrontend
from mamtra.text.english.dates import DateOrder
from mamtra.text.frontend import Explanation, TextFrontend
from mamtra.text.markup import parse_markup
from mamtra.text.split import Segment, nothing_to_say
from mamtra.voices.library import VoiceLibrary
from mamtra.voices.voice import Voice

MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Text:
    """A text of a batch with options of its own.

    Attributes:
        text: what to say.
        voice: as in `TTS.say`; that of the batch where None.
        seed: of the draws; that of the batch where None.
        speed: 0.5 (slow) to 2 (fast); that of the batch where None.
    """

    text: str
    voice: str | os.PathLike | Voice | None = None
    seed: int | None = None
    speed: float | None = None


class TTS:
    """Text to speech with one model.

    Several threads may use one object: it holds no state of a request.

    Args:
        model: the model.
        library: the voices at hand; those of the model and of the user by default.
    """

    def __init__(self, model: Model, library: VoiceLibrary | None = None) -> None:
        self.model = model
        self.library = library or VoiceLibrary(model.directory)
        self._voices: dict[tuple[str, int], Voice] = {}
        self._prompts = PromptStore(model)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        lexicon: str | os.PathLike | None = None,
        date_order: str | None = None,
    ) -> TTS:
        """Load a model by directory, built-in name or hub name; by default the one that comes with the package.

        Weights are read when first needed.

        Args:
            model: directory or name.
            device: of all its parts.
            dtype: of the LM's weights.
            lexicon: a file of your own pronunciations, one ``word<TAB>phonemes`` a line.
            date_order: of dates such as 1/2/2024: "mdy", "dmy" or "auto" (month first where both are possible).

        Raises:
            MamTraError: no such model or device; the lexicon cannot be read, or the model reads letters instead of phonemes.
        """
        opened = open_model(find_model(model), pick_device(device), dtype)
        if lexicon is not None or date_order is not None:
            front = _phoneme_frontend(opened)
            if date_order is not None:
                if date_order not in get_args(DateOrder):
                    raise MamTraError(f"There is no date order {date_order!r}; use {', '.join(get_args(DateOrder))}.")
                front.date_order = date_order
            if lexicon is not None:
                front.use_lexicon(lexicon)
        return cls(opened)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio, Hz."""
        return self.model.sample_rate

    @property
    def voices(self) -> list[str]:
        """Names of the voices at hand."""
        return sorted({*self.library.paths(), *self.model.speakers})

    @property
    def interleaves(self) -> bool:
        """Whether the model can speak a sentence while its text is still arriving, see `stream`."""
        return self.model.generation.bistream and isinstance(self.model.text, BpeFrontend)

    def segments(self, text: str) -> list[str]:
        """The normalised sentences, or parts of long ones, that `text` is spoken in.

        Raises:
            MamTraError: the text is empty, too long or without words.
        """
        return [segment.text for segment in self.model.text.segments(check_text(text))]

    def explain(self, text: str) -> list[Explanation]:
        """What will be spoken of `text`, part by part: normalised words, phonemes, and characters that cannot be read.

        Raises:
            MamTraError: the text is empty or too long, or the model reads letters instead of phonemes.
        """
        return _phoneme_frontend(self.model).explain(check_text(text))

    def say(
        self,
        text: str,
        voice: str | os.PathLike | Voice | None = None,
        *,
        voice_text: str | None = None,
        instruct: str | None = None,
        seed: int = 0,
        speed: float = 1.0,
    ) -> Audio:
        """Synthesise a text of up to 100,000 characters.

        Args:
            text: what to say; it is synthesised sentence by sentence.
            voice: a name, a `Voice`, a voice file, or a recording to clone from; the model's own by default.
            voice_text: what is said in the recording, where `voice` is one.
            instruct: how to speak, such as "Speak slowly."; for models that follow instructions (CosyVoice 2).
            seed: the same seed gives the same audio.
            speed: 0.5 (slow) to 2 (fast).

        Raises:
            MamTraError: for anything the caller can correct, in one sentence.
        """
        options = {"voice_text": voice_text, "instruct": instruct, "seed": seed, "speed": speed}
        return Audio.joined(list(self.stream(check_text(text), voice, whole_sentences=True, **options)))

    def stream(
        self,
        text: str | Iterable[str],
        voice: str | os.PathLike | Voice | None = None,
        *,
        voice_text: str | None = None,
        instruct: str | None = None,
        seed: int = 0,
        speed: float = 1.0,
        whole_sentences: bool = False,
        interleave: bool | None = None,
        hops: HopSchedule | None = None,
    ) -> Iterator[Audio]:
        """Synthesise a text, or text that is still arriving, and give the audio while the speech tokens are being generated.

        The first chunk comes after about a second of speech tokens; the first chunk of each sentence carries its text. The flow
        then sees a second at a time instead of the whole sentence, so the audio differs a little from that of `say`. Arguments
        and errors are those of `say`; arguments are checked before the first chunk is asked for.

        Text that is still arriving is an iterable of strings cut anywhere, such as the output of a language model. It is
        synthesised sentence by sentence, or, with a model that was trained for it (CosyVoice 2), within a sentence too: then
        each chunk carries the text that was read for it.

        Args:
            whole_sentences: give each sentence as one chunk; the chunks together are the audio of `say`.
            interleave: read on while speaking (CosyVoice 2's bistream), or wait for whole sentences. By default arriving text is
                interleaved where the model can do it and `whole_sentences` is off.
            hops: how many speech tokens each chunk waits for, see `mamtra.synthesis.streaming.HopSchedule`.
        """
        began = time.perf_counter()
        check_speed(speed)
        chosen = check_voice(self.model, self.voice(voice, voice_text))
        if instruct is not None:
            chosen = chosen.instruct(self._instruction(instruct))
        request = Request(self.model, chosen, seed, speed)
        if interleave and (whole_sentences or not self.interleaves):
            raise MamTraError(
                "Whole sentences cannot be given while their text is being read; leave out one of the two options."
                if self.interleaves
                else f"The model {self.model.name} was not trained to speak while text is arriving; leave interleave out, and "
                "each sentence is spoken as soon as it is complete."
            )
        if interleave is None:
            interleave = not isinstance(text, str) and self.interleaves and not whole_sentences
        segments = self._read(text, interleave)
        if whole_sentences:
            return self._audio(request, segments, whole_segment, began)
        return self._audio(request, segments, partial(stream_segment, prompts=self._prompts, schedule=hops), began)

    def batch(
        self,
        texts: Iterable[str | Text],
        voice: str | os.PathLike | Voice | None = None,
        *,
        seed: int = 0,
        speed: float = 1.0,
    ) -> Iterator[Audio | MamTraError]:
        """Synthesise many texts, each as `say` does.

        Args:
            texts: what to say; read as they are needed.
            voice: of texts that name none.
            seed: of texts that name none.
            speed: of texts that name none.

        Yields:
            One result a text, in their order: its audio, or the error of a text that cannot be spoken, which does not stop the
            others.
        """
        batch = Batch.of(self.model)
        try:
            began = time.perf_counter()
            for given in chain(texts, [None]):
                if given is not None:
                    self._add(batch, given if isinstance(given, Text) else Text(given), Text("", voice, seed, speed))
                for request, found in batch.finished(last=given is None):
                    spent, began = time.perf_counter() - began, time.perf_counter()
                    try:
                        if isinstance(found, MamTraError):
                            raise found
                        shares = [replace(chunk, spent=spent / len(found)) for chunk in found]
                        yield Audio.joined([self._heard(request, chunk, 1000 * spent) for chunk in shares])
                    except MamTraError as error:
                        yield error
        finally:
            batch.cancel()

    def _add(self, batch: Batch, text: Text, defaults: Text) -> None:
        """Put a text into a batch, or the reason why it cannot be spoken."""
        try:
            voice = self.voice(defaults.voice if text.voice is None else text.voice)
            request = Request(
                self.model,
                check_voice(self.model, voice),
                defaults.seed if text.seed is None else text.seed,
                check_speed(defaults.speed if text.speed is None else text.speed),
            )
            batch.add(request, self.model.text.segments(check_text(text.text)))
        except MamTraError as error:
            batch.refuse(error)

    def _read(self, text: str | Iterable[str], interleave: bool) -> Iterator[Segment | Utterance]:
        """Segments one by one. Of a complete text the first one, and all pause marks, are read at once, so that errors show."""
        front = self.model.text
        if not isinstance(text, str):
            return utterances(check_arriving(text), front) if interleave else front.arriving(check_arriving(text))
        parse_markup(check_text(text))
        segments = utterances([text], front) if interleave else front.iterate(text)
        first = next(segments, None)
        if first is None:
            raise nothing_to_say()
        return chain([first], segments)

    def _audio(
        self, request: Request, segments: Iterable[Segment | Utterance], backend: Backend, began: float
    ) -> Iterator[Audio]:
        ttfa_ms = None
        for chunk in speak(request, segments, backend):
            ttfa_ms = (time.perf_counter() - began) * 1000 if ttfa_ms is None else ttfa_ms
            yield self._heard(request, chunk, ttfa_ms)
        if ttfa_ms is None:
            raise MamTraError("There is no text to speak.")

    def _heard(self, request: Request, chunk: AudioChunk, ttfa_ms: float) -> Audio:
        return Audio(
            samples=chunk.samples,
            sample_rate=self.sample_rate,
            text=chunk.text,
            seed=request.seed,
            voice=request.voice.name,
            tokens=chunk.tokens,
            finish_reason=chunk.finish_reason,
            rtf=chunk.spent * self.sample_rate / max(1, len(chunk.samples)),
            ttfa_ms=ttfa_ms,
        )

    def clone(self, wav: str | os.PathLike, text: str | None = None, **info: str) -> Voice:
        """Make a voice from a recording of 1 to 30 s.

        Args:
            wav: an audio file of 16 kHz or more with one person speaking.
            text: what is said in it, word for word; without it only the timbre is taken over.
            **info: name, language, gender, description, licence, source, consent.

        Raises:
            MamTraError: the recording cannot serve, with the reason.
        """
        return clone_voice(wav, self.model, text, **info)

    def voice(self, voice: str | os.PathLike | Voice | None = None, text: str | None = None) -> Voice:
        """The voice of a name, a voice file or a recording; the model's own where none is given.

        Raises:
            MamTraError: there is no such voice, or it belongs to another model.
        """
        found = voice if isinstance(voice, Voice) else self._find_voice(voice, text)
        theirs, ours = found.info.voice_space, self.model.voice_space
        if theirs and ours and theirs != ours:
            raise MamTraError(f"The voice {found.name!r} was made for another model; make it again from its recording.")
        return found

    def _find_voice(self, voice: str | os.PathLike | None, text: str | None) -> Voice:
        speakers = self.model.speakers
        name = (next(iter(speakers), None) or self.library.default()) if voice is None else os.fspath(voice)
        if name in speakers and text is None:
            return Voice.preset(name, speakers[name], self.model.voice_space)
        path = Path(name).expanduser()
        if name in self.library.paths():
            path = self.library.path(name)
        elif path.suffix != ".safetensors":
            if path.is_file() or path.suffix.lower() in SUFFIXES:
                return self.clone(path, text)
            path = self.library.path(name)
        if text is not None:
            raise MamTraError("A transcript goes with a recording; a stored voice has its own.")
        if not path.is_file():
            raise MamTraError(f"There is no voice file {path}.")
        key = (str(path), path.stat().st_mtime_ns)
        if key not in self._voices:
            self._voices[key] = Voice.load(path)
        return self._voices[key]

    def _instruction(self, text: str) -> list[int]:
        if not isinstance(self.model.text, BpeFrontend):
            raise MamTraError(f"The model {self.model.name} follows no instructions; use CosyVoice 2, or leave it out.")
        return self.model.text.instruction(text)


def _phoneme_frontend(model: Model) -> TextFrontend:
    if not isinstance(model.text, TextFrontend):
        raise MamTraError(
            f"The model {model.name} reads letters, not phonemes; leave out pronunciations and date order."
        )
    return model.text


def check_text(text: str) -> str:
    """Refuse text that is empty or longer than `MAX_CHARACTERS`.

    Raises:
        MamTraError: it is, or it is not a string.
    """
    if not isinstance(text, str):
        raise MamTraError(f"Text to speak has to be a string, not {type(text).__name__}.")
    if not text.strip():
        raise MamTraError("There is no text to speak.")
    if len(text) > MAX_CHARACTERS:
        raise MamTraError(f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} fit, so split it.")
    return text


def check_arriving(parts: Iterable[str]) -> Iterable[str]:
    """Refuse what cannot be text that is arriving.

    Raises:
        MamTraError: it is not an iterable of strings.
    """
    if not isinstance(parts, Iterable) or isinstance(parts, bytes):
        raise MamTraError(f"Text to speak has to be a string, or strings that arrive, not {type(parts).__name__}.")
    return parts


def load(model: str | os.PathLike | None = None, **options: object) -> TTS:
    """Shorthand for `TTS.load`."""
    return TTS.load(model, **options)  # type: ignore[arg-type]
