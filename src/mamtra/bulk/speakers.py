"""Lines to encoded sound, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mamtra.bulk.lines import Failure, Line
from mamtra.errors import MamTraError
from mamtra.runtime.files import hash_files
from mamtra.synthesis.audio import marked
from mamtra.synthesis.fingerprint import hash_voice
from mamtra.tts import TTS, Text
from mamtra.voices.voice import Voice


@dataclass(frozen=True)
class Sound:
    """A finished line.

    Attributes:
        line: what was asked for.
        data: bytes of the sound file.
        seconds: of sound.
        finish_reason: as in `mamtra.synthesis.audio.Audio`.
    """

    line: Line
    data: bytes
    seconds: float
    finish_reason: str


class LocalSpeaker:
    """Speaks lines with one model.

    Args:
        tts: the model.
        source: name of the batch file, for messages.
        watermark: key to mark the samples with; None for no mark.
    """

    def __init__(self, tts: TTS, source: str, watermark: str | None = None) -> None:
        self._tts, self._source, self._watermark = tts, source, watermark
        self._voices: dict[str | None, Voice] = {}

    def each(self, lines: Iterable[Line]) -> Iterator[Sound | Failure]:
        """One result a line, in their order; a line that cannot be spoken does not stop the others."""
        asked: list[Line | Failure] = []  # in order: the batch reads ahead of what it gives

        def texts() -> Iterator[Text]:
            for line in lines:
                try:
                    voice = self._voice(line.voice)
                except MamTraError as error:
                    asked.append(self._failure(line, error))
                    continue
                asked.append(line)
                yield Text(line.text, voice, line.seed, line.speed)

        for audio in self._tts.batch(texts()):
            while isinstance(asked[0], Failure):
                yield asked.pop(0)
            line = asked.pop(0)
            try:
                if isinstance(audio, MamTraError):
                    raise audio
                if self._watermark is not None:
                    (audio,) = marked([audio], self._watermark)
                yield Sound(line, audio.to_bytes(line.format), audio.seconds, audio.finish_reason)
            except MamTraError as error:
                yield self._failure(line, error)
        yield from asked

    def _voice(self, name: str | None) -> Voice:
        if name not in self._voices:
            self._voices[name] = self._tts.voice(name)
        return self._voices[name]

    def _failure(self, line: Line, error: MamTraError) -> Failure:
        return Failure(line.number, f"{self._source}, line {line.number}: {error}")


class VoiceHashes:
    """Hashes of the voices that lines name; a recording is hashed without being cloned."""

    def __init__(self, tts: TTS) -> None:
        self._tts, self._known = tts, dict[str | None, str]()

    def __call__(self, name: str | None) -> str:
        """Hash of a voice.

        Raises:
            MamTraError: there is no such voice.
        """
        if name not in self._known:
            is_file = name is not None and name not in self._tts.voices and Path(name).is_file()
            self._known[name] = hash_files(name)[:16] if is_file else hash_voice(self._tts.voice(name))
        return self._known[name]
