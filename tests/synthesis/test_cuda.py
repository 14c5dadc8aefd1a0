"""The embedded voice on a GPU: the audio is that of a CPU, whichever client asks for it and however many ask at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

import mamtra
from mamtra.synthesis.batch import speak_texts
from mamtra.tts import TTS, Text

pytestmark = pytest.mark.gpu
TEXTS = (
    "Good morning.",
    "This is a longer sentence with a few more words in it.",
    "Seven.",
    "How are you today?",
    "The train leaves at noon, they said.",
    "Rain fell all night.",
    "Please close the door behind you.",
    "Thank you very much.",
)
CLOSE = 0.01


@pytest.fixture(scope="module", autouse=True)
def exact_convolutions():
    """Not in TF32, whose errors a voiced sound's phase adds up."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def opened(device: str) -> TTS:
    """The embedded voice, which always takes the most probable token, so that no rounding matters."""
    tts = mamtra.load("mini", device=device)
    tts.model.generation = tts.model.generation.model_copy(update={"top_k": 1, "win_size": 0, "max_ratio": 6.0})
    return tts


@pytest.fixture(scope="module")
def on_gpu() -> TTS:
    return opened("cuda")


@pytest.fixture(scope="module")
def alone(on_gpu) -> list[np.ndarray]:
    return [on_gpu.say(text, seed=i).samples for i, text in enumerate(TEXTS)]


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and difference(found, wanted) < CLOSE


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max())


def test_say_is_that_of_a_cpu(alone):
    on_cpu = opened("cpu")
    for i in (0, 1):
        assert same(alone[i], on_cpu.say(TEXTS[i], seed=i).samples)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_gpu(alone):
    second = opened("cuda:1")
    assert same(second.say(TEXTS[1], seed=1).samples, alone[1])
    assert list(second.stream(TEXTS[1], seed=1))


def test_threads_that_say_at_once(alone):
    """A model of its own, so that all of them come upon an engine and graphs that are still to be made."""
    tts, found = opened("cuda"), {}

    def client(i: int) -> None:
        for _ in range(3):
            found.setdefault(i, []).append(tts.say(TEXTS[i], seed=i).samples)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: len(runs) for i, runs in found.items()} == dict.fromkeys(range(len(TEXTS)), 3)
    for i, runs in found.items():
        assert all(same(samples, alone[i]) for samples in runs), TEXTS[i]


def test_streams(on_gpu):
    def made(i: int) -> np.ndarray:
        return np.concatenate([chunk.samples for chunk in on_gpu.stream(TEXTS[i], seed=i)])

    wanted, found = [made(i) for i in range(4)], {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: made(i)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[i], wanted[i]) for i in range(4))
    on_cpu = np.concatenate([chunk.samples for chunk in opened("cpu").stream(TEXTS[0], seed=0)])
    assert same(wanted[0], on_cpu)


def test_a_batch(on_gpu, alone):
    texts = [Text(text, seed=i) for i, text in enumerate(TEXTS)]
    for found, wanted in zip(on_gpu.batch(texts), alone, strict=True):
        assert same(found.samples, wanted), difference(found.samples, wanted)
    rows = dict(speak_texts(on_gpu.model, on_gpu.voice(), TEXTS[:3], rows=2))
    assert all(len(rows[i]) for i in range(3))


def test_memory_of_say_stays_flat(on_gpu, alone):
    sizes = []
    for _ in range(4):
        for i in (0, 1, 3):
            on_gpu.say(TEXTS[i], seed=i)
        torch.cuda.synchronize()
        sizes.append(torch.cuda.memory_allocated())
    assert sizes[-1] == sizes[1]
