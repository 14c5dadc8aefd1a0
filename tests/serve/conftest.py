"""Servers on real sockets: one with a tiny model for all tests, and ones with a model that does what a test tells it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
import uvicorn

from mamtra.audio.io import read_audio
from mamtra.engine.stats import EngineStats
from mamtra.serve.app import create_app
from mamtra.serve.settings import ServeSettings
from mamtra.synthesis.audio import Audio
from mamtra.tts import TTS
from mamtra.voices.library import VoiceLibrary
from tests.browser import wait_for
from tests.factories import tiny_model, tiny_voice

RATE = 24000


class ToldTTS(TTS):
    """Has the interface of `TTS`, and says as many chunks of a tenth of a second as the text has words.

    Attributes:
        step: called before each chunk, with its number and the text.
        closed: texts whose stream was closed.
        decoding, flow_bytes: what the model holds.
        repeats: runs that are repeated for each text.
    """

    sample_rate, interleaves = RATE, False
    decoding, flow_bytes = EngineStats(1, 2, 3000, 400, 3), 50

    def __init__(self, library: VoiceLibrary, step: Callable[[int, str], None] = lambda n, text: None) -> None:
        self.step, self.library, self.closed, self.options, self.repeats = step, library, [], [], 0
        text = SimpleNamespace(segments=lambda text: [SimpleNamespace(ids=text.split())], reads_letters=True)
        layers = ["full_attention"] + ["linear_attention"] * 3
        self.model = SimpleNamespace(
            name="told", arrays="torch", device="cpu", speakers={}, joins_hops=False, text=text,
            config={"lm": {"layer_types": layers}},
        )  # fmt: skip

    def warm_up(self, voices=None):
        pass

    def stream_bytes(self, text_ids=10):
        return text_ids * 2**20

    def clone(self, path, text=None, **info):
        samples, rate = read_audio(path)
        self.cloned_seconds = len(samples) / rate
        return tiny_voice(info["name"])

    def stream(self, text, voice=None, **options) -> Iterator[Audio]:
        self.options.append((text, voice, options))
        return self._chunks(text, voice, options.get("seed", 0))

    def _chunks(self, text, voice, seed):
        count = 0
        try:
            for part in [text] if isinstance(text, str) else text:
                words = part.split()
                for n, word in enumerate(words):
                    self.step(count, part)
                    count += 1
                    reason = "eos" if n + 1 == len(words) else ""
                    samples = np.sin(np.arange(RATE // 10) * 0.05).astype(np.float32) / 2
                    repeats = self.repeats if reason else 0
                    yield Audio(samples, RATE, word, seed, voice or "tiny", 3, reason, 0.1, 1.0, repeats)
        finally:
            self.closed.append(text)


@contextmanager
def running(tts, settings: ServeSettings | None = None, *, warm_up: bool = False) -> Iterator[str]:
    """A server in a thread of its own; its address."""
    app = create_app(tts, settings, warm_up=warm_up)
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield address
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


def figure(client, name):
    """A figure without labels."""
    return float(re.search(rf"^{name} (.+)$", client.get("/metrics").text, re.M)[1])


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("serve") / "tiny-model")


@pytest.fixture(scope="session")
def base(model_directory, tmp_path_factory) -> Iterator[str]:
    """Address of a server with the tiny model."""
    logging.getLogger("mamtra.serve").setLevel(logging.CRITICAL)
    library = VoiceLibrary(model_directory, tmp_path_factory.mktemp("home"))
    with running(TTS(TTS.load(model_directory).model, library)) as address:
        yield address


@pytest.fixture
def client(base) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=base, timeout=30) as found:
        yield found


@pytest.fixture
def told(model_directory, tmp_path) -> Iterator[Callable]:
    """Makes a server with a `ToldTTS`; gives both and a client."""
    with ExitStack() as stack:

        def make(step=lambda n, text: None, **settings):
            tts = ToldTTS(VoiceLibrary(model_directory, tmp_path), step)
            address = stack.enter_context(running(tts, ServeSettings(**settings)))
            return tts, stack.enter_context(httpx2.Client(base_url=address, timeout=30))

        yield make
