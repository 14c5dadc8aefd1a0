"""Several utterances of different lengths, voices and seeds in one call are what each is alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamtra.errors import MamTraError
from mamtra.synthesis.token2wav import batch_to_samples, tokens_to_samples
from tests.factories import tiny_voice


def codes(count: int, seed: int) -> list[int]:
    return torch.randint(0, 6561, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_a_batch_is_its_utterances(model, speed):
    voices = [tiny_voice(tokens=n) for n in (10, 3, 17)]
    voices[1] = voices[1].renamed("wide", pitch=100.0, pitch_range=1.4)
    utterances, seeds = [codes(n, n) for n in (40, 61, 1)], [5, 6, 7]
    speeds = [speed, 1.0, 0.8]
    waves = batch_to_samples(model, voices, utterances, seeds=seeds, speeds=speeds)
    for wave, voice, row, seed, speed in zip(waves, voices, utterances, seeds, speeds, strict=True):
        alone = tokens_to_samples(model, voice, row, seed=seed, speed=speed)
        assert wave.shape == alone.shape and alone.std() > 1e-4
        assert np.abs(wave - alone).max() < 1e-4


def test_a_batch_of_nothing_is_refused(model):
    for utterances in ([], [[1], []]):
        with pytest.raises(MamTraError, match="at least one speech token"):
            batch_to_samples(model, [tiny_voice()] * len(utterances), utterances, seeds=[0] * len(utterances))
    with pytest.raises(MamTraError, match="one voice"):
        batch_to_samples(model, [tiny_voice()], [[1], [2]], seeds=[0, 0])
