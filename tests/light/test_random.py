"""Random numbers and draws are torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamtra.engine import sampling
from mamtra.light.random import Generator, normal_rows
from mamtra.light.sampler import nucleus, ras_sample
from mamtra.models.sampling_config import RASConfig


@pytest.mark.parametrize("seed", [0, 7919, 2**40 + 5])
@pytest.mark.parametrize("count", [16, 17, 31, 480, 12345])
def test_normal_numbers(seed: int, count: int) -> None:
    expected = torch.randn(count, generator=torch.Generator().manual_seed(seed)).numpy()
    np.testing.assert_allclose(Generator(seed).normal(count), expected, atol=2e-6)


def test_a_generator_goes_on_where_it_stopped() -> None:
    theirs, ours = torch.Generator().manual_seed(3), Generator(3)
    for count in (480, 100, 17):
        np.testing.assert_allclose(ours.normal(count), torch.randn(count, generator=theirs).numpy(), atol=2e-6)


def test_the_first_columns_of_a_table() -> None:
    expected = torch.randn(1, 6, 1000, generator=torch.Generator().manual_seed(0))[0, :, :70].numpy()
    np.testing.assert_allclose(normal_rows(0, 6, 1000, 70), expected, atol=2e-6)


@pytest.mark.parametrize(
    "config", [RASConfig(), RASConfig(top_p=0.6, top_k=3), RASConfig(win_size=0), RASConfig(top_k=999)]
)
def test_equal_seeds_draw_equal_ids(config: RASConfig) -> None:
    numbers = np.random.default_rng(0)
    theirs, ours, history = torch.Generator().manual_seed(5), Generator(5), list[int]()
    for step in range(200):
        logits = numbers.standard_normal(300).astype(np.float32) * 3
        logits[numbers.integers(300)] = -np.inf
        expected = sampling.ras_sample(torch.from_numpy(logits.copy()), history, theirs, config=config)
        assert ras_sample(logits, history, ours, config) == expected
        history.append(int(logits.argmax()) if step % 3 == 0 else expected)


def test_ties_go_to_the_lower_id() -> None:
    logits = np.array([1, 3, 3, 0, 3], np.float32)
    assert nucleus(logits, 0.99, 2)[1].tolist() == [1, 2]
