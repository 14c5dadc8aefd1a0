"""Intervals and tests say what they should on data whose answer is known."""

import numpy as np
import pytest

from mamtra.evaluate.statistics import difference, interval, ratio, resampled_rows, resamples, sign_test, within


def test_interval_of_a_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        values = rng.normal(1.0, 1.0, 60)
        low, high = interval(ratio(values, np.ones(60), resamples(60)))
        hits += low <= 1.0 <= high
    assert 180 <= hits <= 199


def test_a_ratio_sums_before_it_divides():
    assert ratio(np.array([1.0, 0.0]), np.array([1.0, 9.0])) == pytest.approx(0.1)


def test_pairing_sees_a_small_but_steady_difference():
    rng = np.random.default_rng(1)
    base = rng.integers(0, 40, 100).astype(float)
    words = np.full(100, 50.0)
    value, (low, high) = difference(base, words, base + 1, words)
    assert value == pytest.approx(0.02) and low == pytest.approx(0.02) and high == pytest.approx(0.02)
    apart, (low, high) = difference(base, words, rng.permutation(base), words)
    assert low < 0 < high and apart == pytest.approx(0.0)


def test_sign_test_of_a_coin():
    assert sign_test(np.zeros(10), np.zeros(10)) == (0, 0, 1.0)
    assert sign_test(np.ones(5), np.zeros(5)) == (5, 0, pytest.approx(2 / 32))
    assert sign_test(np.array([0, 1.0]), np.array([1.0, 0]))[2] == 1.0


def test_seeds_are_averaged_within_utterances_and_resampled():
    one = np.arange(30)
    assert np.array_equal(resampled_rows(one), resamples(30))
    groups = np.repeat(one, 3)
    picked = resampled_rows(groups)
    assert picked.shape == (2000, 90)
    assert all(len({*groups[row[i : i + 3]]}) == 1 for row in picked[:20] for i in range(0, 90, 3))
    assert len({*picked[0].tolist()}) < 90 and {*resampled_rows(groups[::-1]).ravel().tolist()} == {*range(90)}
    assert within(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1])).tolist() == [2.0, 5.0]
    uneven = np.array([0, 0, 0, 1])
    assert {*uneven[resampled_rows(uneven)].sum(1).tolist()} == {0, 3, 6}


def test_intervals_over_utterances_and_seeds_cover_the_mean():
    rng = np.random.default_rng(2)
    groups, hits = np.repeat(np.arange(40), 3), 0
    for _ in range(100):
        values = rng.normal(1.0, 1.0, 40)[groups] + rng.normal(0, 0.5, 120)
        low, high = interval(ratio(values, np.ones(120), resampled_rows(groups)))
        hits += low <= 1.0 <= high
    assert 88 <= hits <= 99
