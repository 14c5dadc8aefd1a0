"""Whether flow and vocoder run as captured graphs is decided when they are loaded, not by what was spoken before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamtra.synthesis.model import Model
from mamtra.tts import TTS
from tests.factories import tiny_model, tiny_voice
from tests.rerun import Rerun

TEXT = "Hello there. How are you?"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a tiny model anew, with stand-ins for graphs, and lists their caches."""
    directory = tiny_model(tmp_path / "tiny")
    caches: list[Rerun] = []

    def graph_cache(model: Model) -> Rerun:
        caches.append(Rerun())
        return caches[-1]

    def fresh() -> tuple[TTS, list[Rerun]]:
        caches.clear()
        monkeypatch.setattr(Model, "_graph_cache", graph_cache)
        return TTS.load(directory, device="cpu"), caches

    return fresh


def said(tts: TTS) -> np.ndarray:
    return tts.say(TEXT, tiny_voice(), seed=3).samples


def streamed(tts: TTS) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in tts.stream(TEXT, tiny_voice(), seed=3)])


def test_speech_is_made_with_graphs_from_the_first_sentence_on(load):
    tts, caches = load()
    for _ in range(2):
        said(tts)
    assert len(caches) == 2 and all(graphs.captured and graphs.replayed for graphs in caches)


def test_the_order_of_say_and_stream_changes_nothing(load):
    first, _ = load()
    sound = said(first), streamed(first), said(first)
    second, _ = load()
    other = streamed(second), said(second), streamed(second)
    assert np.array_equal(sound[0], sound[2]) and np.array_equal(other[0], other[2])
    assert np.array_equal(sound[0], other[1]) and np.array_equal(sound[1], other[0])


def test_parts_that_are_handed_over_stay_as_they_are(load):
    tts, caches = load()
    model = Model(tts.model.directory, parts={"flow": tts.model.flow, "vocoder": tts.model.vocoder})
    count = len(caches)
    assert model.flow is tts.model.flow and model.vocoder is tts.model.vocoder and len(caches) == count


def test_a_cpu_has_no_graphs(tmp_path):
    model = Model(tiny_model(tmp_path / "tiny"), torch.device("cpu"))
    assert model.flow.decoder._graphed is None and model.vocoder._graphs is None
