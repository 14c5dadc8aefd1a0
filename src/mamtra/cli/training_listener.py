"""Word error rate of the student's own speech at every validation of a training run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    import torch

    from mamtra.evaluate.error_rates import Normaliser
    from mamtra.evaluate.judges.asr import Transcriber
    from mamtra.models.speech_lm import SpeechLM


class WordErrorObserver:
    """Synthesises sentences with the student and the other parts of a model directory, and transcribes them.

    Args:
        directory: of the model that has the other parts.
        sentences: to synthesise.
        voice: of the synthesis; the model's default voice if None.
        transcribe: speech recogniser.
        normalise: text normaliser, applied to both texts.
        device: of the language model.

    Raises:
        MamTraError: the model has no such voice, or cannot speak.
    """

    def __init__(
        self,
        directory: Path,
        sentences: Sequence[str],
        voice: str | None,
        transcribe: Transcriber,
        normalise: Normaliser,
        device: torch.device,
    ) -> None:
        from mamtra.synthesis.open_model import open_model
        from mamtra.tts import TTS

        self._model = open_model(directory, device)
        self._sentences, self._transcribe, self._normalise = sentences, transcribe, normalise
        tts = TTS(self._model)
        if voice is None and not tts.voices:
            raise MamTraError(f"{directory} has no voices to speak with; add one with `mamtra voices add`.")
        self._voice = tts.voice(voice)
        self._parts = {"flow": self._model.flow, "vocoder": self._model.vocoder}

    def __call__(self, lm: SpeechLM, step: int) -> dict[str, float]:
        """Word error rate in percent, and the number of sentences without any speech."""
        from mamtra.evaluate.error_rates import Errors, count_errors
        from mamtra.tts import TTS

        model = type(self._model)(self._model.directory, self._model.device, parts={"lm": lm, **self._parts})
        tts, errors, silent = TTS(model), Errors(), 0
        for sentence in self._sentences:
            hypothesis = ""
            try:
                audio = tts.say(sentence, self._voice)
                hypothesis = self._transcribe(audio.samples, audio.sample_rate)
            except MamTraError:  # early in the training there may be no speech at all
                silent += 1
            errors += count_errors(sentence, hypothesis, self._normalise)
        return {"wer": errors.wer, "silent": float(silent)}


def make_listener(
    whisper: str, sentences: Path | None, voice: str | None
) -> Callable[[Path, torch.device], WordErrorObserver]:
    """A function that makes a `WordErrorObserver` from the directory of the initial student and the device.

    Raises:
        MamTraError: the speech recogniser is missing, or the file holds no sentences.
    """
    from mamtra.evaluate.error_rates import english_normaliser
    from mamtra.evaluate.judges.asr import open_transcriber
    from mamtra.evaluate.sentences import SENTENCES, read_sentences

    said, transcribe, (normalise, _) = (
        read_sentences(sentences or SENTENCES),
        open_transcriber(whisper),
        english_normaliser(),
    )
    return lambda directory, device: WordErrorObserver(directory, said, voice, transcribe, normalise, device)
