"""Every format, however its sound is cut as it is made and however its bytes are cut on their way."""

from __future__ import annotations

import av
import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.audio.formats import FORMATS
from mamtra.serve.encoders import Streamed, Whole

CONTAINERS = {"flac": "flac", "opus": "ogg", "wav": "wav"}
SOUND = np.sin(np.arange(36_000) ** 1.3 * 0.01).astype(np.float32) / 2
CUTS = st.lists(st.integers(0, len(SOUND)), max_size=12).map(sorted)


class Arriving:
    """Bytes of a connection: nobody can seek, and a read gives what has come."""

    def __init__(self, content: bytes, cuts: list[int]) -> None:
        self._pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]

    def read(self, size: int) -> bytes:
        while self._pieces:
            piece = self._pieces.pop(0)
            if piece[size:]:
                self._pieces.insert(0, piece[size:])
            if piece:
                return piece[:size]
        return b""


def decoded(content: bytes, fmt: str, cuts: list[int] | None = None) -> np.ndarray:
    """Samples (T,), as a player makes them of bytes that arrive in pieces."""
    arriving = Arriving(content, cuts or [])
    if fmt == "pcm":
        return np.frombuffer(b"".join(iter(lambda: arriving.read(999), b"")), "<i2") / 32767
    resampler = av.AudioResampler("fltp", "mono", 24000)
    if fmt in CONTAINERS:
        with av.open(arriving, format=CONTAINERS[fmt]) as file:
            frames = list(file.decode(audio=0))
    else:  # frames that stand by themselves, behind a tag
        codec = av.CodecContext.create(fmt, "r")
        tag = 10 + sum(part << 7 * (3 - n) for n, part in enumerate(content[6:10])) if content[:3] == b"ID3" else 0
        while tag:
            tag -= len(arriving.read(tag))
        pieces = [*iter(lambda: arriving.read(999), b""), None]
        frames = [frame for piece in pieces for packet in codec.parse(piece) for frame in codec.decode(packet)]
        frames += codec.decode(None)
    return np.concatenate([plane.to_ndarray()[0] for frame in frames for plane in resampler.resample(frame)])


def encoded(encoder: Streamed | Whole, cuts: list[int]) -> bytes:
    parts = [encoder.write(SOUND[start:end]) for start, end in zip([0, *cuts], [*cuts, len(SOUND)], strict=True)]
    return b"".join([*parts, encoder.close()])


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=15, deadline=None)
@given(cuts=CUTS, rate=st.sampled_from([24000, 8000, 48000]))
def test_sound_that_is_made_in_any_pieces(fmt, cuts, rate):
    at_once, in_pieces = (decoded(encoded(Streamed(24000, rate, fmt), each), fmt) for each in ([], cuts))
    assert at_once.shape == in_pieces.shape and np.abs(at_once - in_pieces).max() < 1e-3
    whole = encoded(Whole(24000, rate, fmt), cuts)
    assert whole == encoded(Whole(24000, rate, fmt), [])
    if fmt == "pcm":
        assert len(whole) == 2 * round(len(SOUND) * rate / 24000)
    elif rate == 24000:
        assert abs(len(in_pieces) - len(SOUND)) < 3600
        if fmt in ("wav", "flac"):
            assert np.abs(in_pieces - SOUND).max() < 1e-4


class Bodies(dict):
    """By format; not to be printed."""

    __repr__ = object.__repr__


@pytest.fixture(scope="module")
def bodies(base) -> Bodies:
    ask = {"input": "Hello there. How are you?", "seed": 3}
    answers = {
        fmt: httpx2.post(f"{base}/v1/audio/speech", json={**ask, "response_format": fmt}, timeout=60) for fmt in FORMATS
    }
    assert {answer.status_code for answer in answers.values()} == {200}
    return Bodies((fmt, answer.content) for fmt, answer in answers.items())


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_bodies_that_arrive_in_any_pieces(bodies, fmt, data):
    content = bodies[fmt]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=40)))
    assert np.array_equal(decoded(content, fmt, cuts), decoded(content, fmt))
