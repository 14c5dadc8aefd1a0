"""Text that is still arriving, with ONNX Runtime against torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mamtra.engine.interleaved import Interleaved
from mamtra.engine.reference import generate_bistream
from mamtra.light import run as light_run
from mamtra.light.model import LightModel
from mamtra.light.random import Generator
from mamtra.light.run import LightRun, start_run
from mamtra.light.speaking import prompt_store, stream_segment
from mamtra.models.sampling_config import LengthConfig
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.sentence import start_run as torch_run
from mamtra.synthesis.streaming import prompt_store as torch_prompts
from mamtra.synthesis.streaming import stream_segment as torch_segment
from tests.factories import tiny_model, tiny_voice

LENGTHS = LengthConfig(max_ratio=4.0)


@pytest.mark.parametrize("prompt", [((), ()), ((3, 4, 5), tuple(range(20)))])
def test_tokens_are_those_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: tuple) -> None:
    monkeypatch.setattr(light_run, "_ROOM", 20)  # so that the state has to grow
    directory = tiny_model(tmp_path)
    lm, light = Model(directory).lm, LightModel(directory, exact=True)
    for seed in range(3):
        taken: list[int] = []

        def arriving(taken: list[int] = taken) -> Iterator[int]:
            for i in range(30):
                taken.append(i)
                yield i

        draws = torch.Generator().manual_seed(seed)
        expected = generate_bistream(lm, range(30), *prompt, generator=draws, lengths=LENGTHS)
        layout = Interleaved(*prompt, lengths=LENGTHS, text_ids=arriving())
        run = LightRun(light.lm, layout, Generator(seed), light.generation)
        found = [next(run)]
        assert len(taken) < 30  # it spoke before the text was complete
        found += run
        assert found == list(expected) == run.tokens and run.finish_reason == expected.finish_reason


@pytest.mark.parametrize("arriving", [False, True])
def test_guards_hold_as_with_torch(tmp_path: Path, arriving: bool) -> None:
    directory, voice = tiny_model(tmp_path), tiny_voice()
    model, light = Model(directory), LightModel(directory, exact=True)
    guards = {"most_repeats": 1, "most_silence": 2, "silent_tokens": (*range(14), 10**6), "top_p": 0.99, "win_size": 0}
    for one in (model, light):
        one.generation = one.generation.model_copy(update=guards)
    assert model.decoding.guarded == light.decoding.guarded == 0
    for seed in range(3):
        request = Request(light, voice.to("numpy"), seed)
        ids, other = (iter(range(20)), iter(range(20))) if arriving else (list(range(20)),) * 2
        expected = torch_run(model, voice, ids, request.seed_of(0, 0)).result()
        assert list(start_run(request, other, request.seed_of(0, 0))) == expected
        assert all(one != next_ for one, next_ in pairwise(expected))
        assert not any(max(expected[i : i + 3]) < 14 for i in range(len(expected) - 2))
    assert model.decoding.guarded == light.decoding.guarded > 0


def test_a_stream_of_arriving_text_sounds_as_with_torch(tmp_path: Path) -> None:
    directory, voice = tiny_model(tmp_path), tiny_voice()
    model, light = Model(directory), LightModel(directory, exact=True)

    class Ids:
        """Ids that are still arriving, which may be read again."""

        def __iter__(self) -> Iterator[int]:
            return iter(range(40))

    expected = list(torch_segment(Request(model, voice), Ids(), prompts=torch_prompts(model)))
    found = list(stream_segment(Request(light, voice.to("numpy")), Ids(), prompts=prompt_store(light)))
    assert [chunk.tokens for chunk in found] == [chunk.tokens for chunk in expected]
    joined = (np.concatenate([chunk.samples for chunk in chunks]) for chunks in (found, expected))
    np.testing.assert_allclose(*joined, atol=5e-3)
