"""The public API: load a model, say or stream a text, clone a voice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from mamtra.checkpoints import find
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.errors import MamTraError
from mamtra.light.choice import choose_runtime
from mamtra.light.ways import ways_of
from mamtra.runtime.arguments import checked
from mamtra.runtime.explain import in_words
from mamtra.synthesis.audio import Audio, audio_of
from mamtra.synthesis.cloning import clone_voice
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.pipeline import AudioChunk, Request, check_speed, check_text, check_voice, speak
from mamtra.synthesis.profile import adjust_reading, choose_profile, phoneme_frontend
from mamtra.synthesis.retries import AGAIN, AS_IT_COMES
from mamtra.synthesis.spans import words_of
from mamtra.synthesis.text_batch import Text, speak_each
from mamtra.synthesis.voice_finder import VoiceFinder
from mamtra.synthesis.word_times import Word, phoneme_weights, space_of
from mamtra.text.bistream_text import Utterance, utterances
from mamtra.text.markup import parse_markup
from mamtra.text.split import Segment, nothing_to_say
from mamtra.voices.library import VoiceLibrary
from mamtra.voices.voice import Voice

if TYPE_CHECKING:
    import torch

    from mamtra.engine.stats import EngineStats
    from mamtra.light.model import LightModel
    from mamtra.synthesis.model import Model
    from mamtra.text.frontend import Explanation


class TTS:
    """Text to speech with one model.

    Several threads may use one object: it holds no state of a request.

    Args:
        model: the model.
        library: the voices at hand; those of the model and of the user by default.
    """

    @checked
    def __init__(self, model: Model | LightModel, library: VoiceLibrary | None = None) -> None:
        if not isinstance(getattr(model, "generation", None), GenerationConfig):
            raise MamTraError(f"TTS: model has to be a Model, not {type(model).__name__}.")
        self.model = model
        self.library = library or VoiceLibrary(model.directory)
        self._finder = VoiceFinder(model, self.library)
        self.ways = ways_of(model)

    @classmethod
    @checked
    def load(
        cls,
        model: str | os.PathLike | None = None,
        *,
        runtime: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        lexicon: str | os.PathLike | None = None,
        date_order: str | None = None,
        like_original: bool | None = None,
        text_rules: str | None = None,
        flow_steps: int | None = None,
        flow_history: int | None = None,
        int8_lm: bool | None = None,
    ) -> TTS:
        """Load a model by directory, built-in name or hub name; by default the one that comes with the package.

        Weights are read when first needed.

        Args:
            model: directory or name. By default "mini"; with the runtime "onnx" and no `flow_steps` "mini-fast", the same voice
                with a faster flow.
            runtime: "onnx" computes on the CPU with ONNX Runtime and needs no torch; "torch" runs every model on every device.
                By default "torch" where it is installed.
            device: of all its parts, with torch.
            dtype: of the LM's weights, with torch: float32 (the default), bfloat16 or float16.
            lexicon: a file of your own pronunciations, one ``word<TAB>phonemes`` a line.
            date_order: of dates such as 1/2/2024: "mdy", "dmy" or "auto" (month first where both are possible).
            like_original: for models of CosyVoice 2: speak as the published code does, text rules included, or with this
                package's text rules, trimming, pauses and repeats. A CosyVoice 2 directory does the former by default.
            text_rules: for models of CosyVoice 2: "cosyvoice2", "mamtra" or "none" (text is read as written, in one piece).
            flow_steps: steps of the flow; fewer are faster. A few-step flow takes those that it was trained for. By default those
                of the model.
            flow_history: mel frames before a chunk that the streaming flow sees besides those of the voice's prompt, with torch:
                memory of a stream and time of a hop are then bounded. 0 is all; by default that of the model.
            int8_lm: with the runtime "onnx", multiply int8 weights of the language model as they are, with inputs rounded to 8
                bits: faster, with less memory, and another choice of speech tokens for the same seed than with torch. By default
                where the processor has instructions for it.

        Raises:
            MamTraError: no such model, device or dtype, or it does not speak; the lexicon cannot be read, or the model reads
                letters instead of phonemes or the other way round.
        """
        directory = find.find_model(model)
        opened: Model | LightModel
        asks_torch = device is not None or dtype is not None or bool(flow_history)
        if choose_runtime(directory, runtime, asks_torch=asks_torch) == "onnx":
            from mamtra.light.model import LightModel

            if model is None and flow_steps is None:
                directory = find.built_in_models().get(find.FAST, directory)
            opened = LightModel(directory, int8_lm=int8_lm is not False)
        elif int8_lm:
            raise MamTraError("An LM with int8 products belongs to the runtime onnx; leave it out, or use that one.")
        else:
            from mamtra.synthesis.open_model import open_on

            opened = open_on(directory, device, dtype)
        opened.check_speaks()
        opened.generation = choose_profile(opened, like_original, text_rules, flow_steps, flow_history)
        adjust_reading(opened, lexicon, date_order)
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
        return self.model.generation.bistream and self.model.text.reads_letters

    @property
    def decoding(self) -> EngineStats:
        """Runs of the language model that are on their way, and the memory of their states."""
        return self.model.decoding

    @property
    def flow_bytes(self) -> int:
        """Memory of the flow's caches: the prompts of the voices used last, and streams on their way."""
        return self.ways.prompts.bytes

    @checked
    def warm_up(self, voices: Iterable[str] | None = None) -> None:
        """Capture the graphs of a GPU for any number of streams, so that none waits for one later; nothing elsewhere.

        Args:
            voices: that are spoken with; all at hand by default.
        """
        self.model.warm_up([self.voice(name) for name in (self.voices if voices is None else voices)])

    @checked
    def stream_bytes(self, text_ids: int | None = None) -> int:
        """Memory that a text takes at most while it is spoken, known before it begins: states of the LM, caches of the flow.

        The flow's part is known once a voice has spoken; it is told for the one with the longest prompt.

        Args:
            text_ids: of the longest segment of the text; by default of the longest that there can be.
        """
        ids = self.model.text.longest_ids if text_ids is None else text_ids
        tokens = self.model.generation.longest(ids)
        prompts = self.ways.prompts
        positions = ids + tokens + 2 * prompts.longest  # a prompt has as many text ids as speech tokens at most
        window = self.model.generation.flow_history // self.model.config["flow"].get("token_mel_ratio", 2)
        kept = min(tokens, window + HopSchedule().most) if window else tokens
        return self.model.run_bytes(positions) + prompts.stream_bytes(kept)

    @checked
    def segments(self, text: str) -> list[str]:
        """The normalised sentences, or parts of long ones, that `text` is spoken in.

        Raises:
            MamTraError: the text is empty, too long or without words.
        """
        return [segment.text for segment in self.model.text.segments(check_text(text))]

    @checked
    def explain(self, text: str) -> list[Explanation]:
        """What will be spoken of `text`, part by part: normalised words, phonemes, and characters that cannot be read.

        Raises:
            MamTraError: the text is empty or too long, or the model reads letters instead of phonemes.
        """
        return phoneme_frontend(self.model).explain(check_text(text))

    @checked
    def words(self, audio: Audio) -> list[Word]:
        """When each word of some audio of this model is heard, written as in the text.

        Args:
            audio: from `say` or `batch`, or the chunks of a stream together (`Audio.joined`).
        """
        return words_of(audio.spans, phoneme_weights(self.model.text), space_of(self.model.text))

    @checked
    def say(
        self,
        text: str,
        voice: str | os.PathLike | Voice | None = None,
        *,
        voice_text: str | None = None,
        instruct: str | None = None,
        mode: str | None = None,
        seed: int = 0,
        speed: float = 1.0,
    ) -> Audio:
        """Synthesise a text of up to 100,000 characters.

        Args:
            text: what to say; it is synthesised sentence by sentence.
            voice: a name, a `Voice`, a voice file, or a recording to clone from; the model's own by default.
            voice_text: what is said in the recording, where `voice` is one.
            instruct: how to speak, such as "Speak slowly."; for models that follow instructions (CosyVoice 2).
            mode: what of the voice is used: all that is known ("zero-shot", the default), its sound without its words
                ("cross-lingual"), or its speaker embedding alone ("speaker").
            seed: the same seed gives the same audio.
            speed: 0.5 (slow) to 2 (fast).

        Raises:
            MamTraError: for anything the caller can correct, in one sentence.
        """
        options = {"voice_text": voice_text, "instruct": instruct, "mode": mode, "seed": seed, "speed": speed}
        return Audio.joined(list(self.stream(check_text(text), voice, whole_sentences=True, **options)))

    @checked
    def stream(
        self,
        text: str | Iterable[str],
        voice: str | os.PathLike | Voice | None = None,
        *,
        voice_text: str | None = None,
        instruct: str | None = None,
        mode: str | None = None,
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
        chosen = self.voice(voice, voice_text)
        if mode is not None:
            chosen = chosen.in_mode(mode)
        if instruct is not None:
            chosen = chosen.instruct(self._instruction(instruct))
        request = self.request(chosen, seed, speed)
        if interleave and (whole_sentences or not self.interleaves):
            raise MamTraError(
                "Whole sentences cannot be given while their text is being read; leave out one of the two options."
                if self.interleaves
                else f"The model {self.model.name} was not trained to speak while text is arriving; leave interleave out, and "
                "each sentence is spoken as soon as it is complete."
            )
        if interleave is None:
            interleave = not isinstance(text, str) and self.interleaves and not whole_sentences
        self.ways.prepare(chosen)
        segments = self._read(text, interleave)
        if whole_sentences:
            if hops is not None:
                raise MamTraError("Hops set the chunks of a stream; leave them out with whole_sentences.")
            return self._audio(request, self.ways.whole(request, segments, ahead=isinstance(text, str)), began)
        return self._audio(request, speak(request, segments, partial(self.ways.segment, schedule=hops)), began)

    @checked
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

        Returns:
            One result a text, in their order: its audio, or the error of a text that cannot be spoken, which does not stop the
            others.
        """
        return speak_each(self.model, self.ways.batch(), texts, Text("", voice, seed, speed), self._request_of)

    @checked
    def request(self, voice: Voice, seed: int, speed: float) -> Request:
        """What segments of a text have in common, for the backends in `ways`; MamTraError where the voice or speed does not fit."""
        retries = AS_IT_COMES if self.model.generation.like_original else AGAIN
        return Request(self.model, check_voice(self.model, voice), seed, check_speed(speed), retries)

    def _request_of(self, text: Text) -> Request:
        return self.request(self.voice(text.voice), text.seed, text.speed)

    def _read(self, text: str | Iterable[str], interleave: bool) -> Iterator[Segment | Utterance]:
        """Segments one by one. Of a complete text the first one, and all pause marks, are read at once, so that errors show."""
        front = self.model.text
        if not isinstance(text, str):
            return utterances(text, front) if interleave else front.arriving(text)
        parse_markup(check_text(text))
        segments = utterances([text], front) if interleave else front.iterate(text)
        if (first := next(segments, None)) is None:
            raise nothing_to_say()
        return chain([first], segments)

    def _audio(self, request: Request, chunks: Iterable[AudioChunk], began: float) -> Iterator[Audio]:
        ttfa_ms = None
        with in_words():
            for chunk in chunks:
                ttfa_ms = (time.perf_counter() - began) * 1000 if ttfa_ms is None else ttfa_ms
                yield audio_of(request, chunk, ttfa_ms)
        if ttfa_ms is None:
            raise MamTraError("There is no text to speak.")

    @checked
    def convert_voice(
        self,
        wav: str | os.PathLike,
        voice: str | os.PathLike | Voice | None = None,
        *,
        seed: int = 0,
        speed: float = 1.0,
    ) -> Audio:
        """Say what is said in a recording of up to 30 s in another voice, with its rhythm (CosyVoice 2's voice conversion).

        Args:
            wav: an audio file of 16 kHz or more.
            voice: as in `say`.
            seed: of the vocoder's noise.
            speed: 0.5 (slow) to 2 (fast).

        Raises:
            MamTraError: the recording cannot serve, or the model lacks the speech tokenizer.
        """
        from mamtra.synthesis.voice_conversion import convert_recording

        return convert_recording(self.request(self.voice(voice), seed, speed), wav, self.ways.samples)

    @checked
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

    @checked
    def voice(self, voice: str | os.PathLike | Voice | None = None, text: str | None = None) -> Voice:
        """The voice of a name, a voice file or a recording; the model's own where none is given.

        Raises:
            MamTraError: there is no such voice, or it belongs to another model.
        """
        return self._finder.find(voice, text)

    def _instruction(self, text: str) -> list[int]:
        if not self.model.text.reads_letters:
            raise MamTraError(f"The model {self.model.name} follows no instructions; use CosyVoice 2, or leave it out.")
        return self.model.text.instruction(text)


@checked
def load(model: str | os.PathLike | None = None, **options: object) -> TTS:
    """Shorthand for `TTS.load`."""
    return TTS.load(model, **options)  # type: ignore[arg-type]
