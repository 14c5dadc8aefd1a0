"""Any server with OpenAI's interface for speech: POST URL/audio/speech. It knows voices by name and no prompts."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np

from mamtra.audio.io import decode_audio, resample
from mamtra.errors import MamTraError
from mamtra.evaluate.adapters.open import AdapterOptions, SystemFailure
from mamtra.runtime.printable import printable

RATE = 24000
MODEL, VOICE = "tts-1", "alloy"
SECONDS = 600.0
LARGEST = 200 * 2**20
"""Bytes of an answer."""
TEXT_REFUSED = (400, 413, 422)
"""Status codes that are about one text."""


class OpenAISpeech:
    """A server.

    Args:
        url: its base, such as ``http://localhost:8000/v1``.
        options: model and voice by the server's names; the variable with the key, which may be unset.

    Raises:
        MamTraError: the URL is none.
    """

    def __init__(self, url: str, options: AdapterOptions) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MamTraError(f"{url!r} is no URL of a server; give openai:http://HOST:PORT/v1.")
        self.url = url.rstrip("/")
        self.sample_rate = RATE
        self._model, self._voice = options.model or MODEL, options.voice or VOICE
        self._key, self._variable = os.environ.get(options.key_variable), options.key_variable
        self.about = {
            "system": f"{self._model} at {parts.netloc.rpartition('@')[2]}", "model": self._model, "voice": self._voice,
            "prompts": "not used",
        }  # fmt: skip

    def speak(self, text: str, prompt_wav: Path | None, prompt_text: str | None) -> np.ndarray:
        """See `Adapter.speak`; the interface has no prompts, so every line has the named voice."""
        asked = {"model": self._model, "input": text, "voice": self._voice, "response_format": "wav"}
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        request = urllib.request.Request(f"{self.url}/audio/speech", json.dumps(asked).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                content = answer.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except (OSError, ValueError) as error:
            reason = printable(str(getattr(error, "reason", error)))
            raise SystemFailure(
                f"{self.url} does not answer ({reason}); check the URL and that the server runs."
            ) from error
        if len(content) > LARGEST:
            raise MamTraError(f"{self.url} gave more than {LARGEST // 2**20} MiB for one text.")
        try:
            samples, rate = decode_audio(content, f"The answer of {self.url}")
        except MamTraError as error:
            raise SystemFailure(
                f"{self.url} gave no sound but {printable(content[:60].decode('utf-8', 'replace'))!r}; is it a server for speech?"
            ) from error
        return resample(samples, rate, RATE)

    def _refused(self, error: urllib.error.HTTPError) -> MamTraError:
        if error.code in (401, 403):
            what = "refuses the key in" if self._key else "asks for a key; set"
            return SystemFailure(f"{self.url} {what} {self._variable} (HTTP {error.code}).")
        said = error.read(2**16).decode("utf-8", "replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = str(json.loads(said)["error"]["message"])
        hint = "; does the URL end with /v1?" if error.code == 404 else ""
        kind = MamTraError if error.code in TEXT_REFUSED else SystemFailure
        return kind(f"{self.url} answers HTTP {error.code}: {printable(said.strip(), 200)}{hint}.")
