"""The order of the batches: everything once, within the budget, the same whatever the processes and interruptions."""

import threading
from itertools import combinations

import numpy as np
import pytest
import torch

from mamtra.data.bucket_sampler import SPECIAL_TOKENS, Sampler, SamplerPosition, bucket_lengths
from mamtra.data.collate import Collator, ahead
from mamtra.errors import MamTraError
from mamtra.models.layout import IGNORE, PAD, SPEECH
from tests.distill.corpora import make_corpus
from tests.factories import tiny_parts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), 200)


def sampler(corpus, budget=600, **options):
    return Sampler(corpus.text_len, corpus.speech_len, corpus.speaker, np.arange(len(corpus)), budget=budget, **options)


@pytest.mark.parametrize("join", [0.0, 0.6])
def test_an_epoch_has_every_utterance_once_within_the_budget(corpus, join):
    for epoch in range(2):
        plan = sampler(corpus, concatenate_same_speaker=join).epoch(epoch)
        used = [row for batch in plan for members in batch.members for row in members]
        assert sorted(used) == list(range(200))
        for batch in plan:
            assert batch.rows * batch.length <= 600 and 0 < len(batch.members) <= batch.rows
            for members in batch.members:
                size = sum(int(corpus.text_len[row] + corpus.speech_len[row]) for row in members) + SPECIAL_TOKENS
                assert size <= batch.length
                assert len({int(corpus.speaker[row]) for row in members}) == 1
        joined = sum(len(members) == 2 for batch in plan for members in batch.members)
        assert (joined > 20) == (join > 0)


def test_order_depends_on_seed_and_epoch_alone(corpus):
    def first(seed, epoch):
        return [batch.members for batch in sampler(corpus, seed=seed).epoch(epoch)]

    assert first(1, 3) == first(1, 3)
    assert first(1, 3) != first(1, 4) != first(2, 4)


def test_budgets_are_well_filled(corpus):
    plan = sampler(corpus, 2000).epoch(0)
    filled = sum(
        int((corpus.text_len[list(m)] + corpus.speech_len[list(m)]).sum()) + SPECIAL_TOKENS
        for b in plan
        for m in b.members
    )
    assert filled / sum(batch.rows * batch.length for batch in plan) > 0.6


def test_too_long_utterances_are_counted(corpus):
    found = sampler(corpus, lengths=(32,))
    fits = corpus.text_len + corpus.speech_len + SPECIAL_TOKENS <= 32
    assert found.left_out == (~fits).sum() > 0
    with pytest.raises(MamTraError, match="longer than the token budget"):
        sampler(corpus, 3)


def padded(sizes, lengths):
    return int(np.array(lengths)[np.searchsorted(lengths, sizes)].sum())


@pytest.mark.parametrize("count", [1, 3, 4])
def test_bucket_lengths_leave_the_least_padding(count):
    sizes = np.random.default_rng(0).integers(40, 300, 50)
    found = bucket_lengths(sizes, count)
    ends = sorted({-(-int(n) // 32) * 32 for n in sizes})
    best = min(padded(sizes, (*some, ends[-1])) for some in combinations(ends[:-1], count - 1))
    assert len(found) == count and found[-1] == ends[-1] and padded(sizes, found) == best
    assert bucket_lengths(np.array([3, 5])) == (32,)


def walk(position, steps):
    return [position.step() for _ in range(steps)]


def test_steps_are_the_same_on_any_number_of_processes(corpus):
    whole = walk(SamplerPosition(sampler(corpus), 4), 30)
    shares = [walk(SamplerPosition(sampler(corpus), 4, rank, 2), 30) for rank in range(2)]
    for (batches, total), (left, one), (right, two) in zip(whole, *shares, strict=True):
        assert [left[0], right[0], left[1], right[1]] == batches
        assert total == one == two == sum(batch.targets for batch in batches)
    with pytest.raises(MamTraError, match=r"multiple of 3"):
        SamplerPosition(sampler(corpus), 4, 0, 3)


def test_positions_are_restored_exactly(corpus):
    position = SamplerPosition(sampler(corpus, concatenate_same_speaker=0.3), 3)
    walk(position, 17)
    saved, wanted = position.state(), walk(position, 40)
    other = SamplerPosition(sampler(corpus, concatenate_same_speaker=0.3), 3)
    other.restore(saved)
    assert walk(other, 40) == wanted and wanted[-1][0][0].epoch > 0


@pytest.mark.parametrize("layout", ["unistream", "bistream", "mixed"])
@pytest.mark.parametrize("fixed", [False, True])
def test_batches(corpus, layout, fixed):
    config = tiny_parts()["lm"].config
    plan = sampler(corpus, concatenate_same_speaker=0.3).epoch(0)
    maker = Collator(corpus, config, layout=layout, fixed=fixed, seed=3)
    fills = 0
    for batch in plan:
        made, again = maker(batch), maker(batch)
        assert all(torch.equal(made[name], again[name]) for name in made)
        assert (made["targets"] != IGNORE).sum() - (made["targets"] == config.fill_id).sum() == batch.targets
        if fixed:
            assert tuple(made["kind"].shape) == (batch.rows, batch.length)
        fills += int((made["targets"] == config.fill_id).sum())
    assert (fills > 0) == (layout != "unistream")


def test_disturbed_codes(corpus):
    config = tiny_parts()["lm"].config
    batch = sampler(corpus).epoch(0)[0]
    plain, changed = (Collator(corpus, config, token_noise=share)(batch) for share in (0.0, 0.3))
    speech = plain["kind"] == SPEECH
    share = (plain["ids"] != changed["ids"])[speech].float().mean()
    assert 0.15 < share < 0.45
    assert torch.equal(plain["ids"][~speech], changed["ids"][~speech])
    assert torch.equal(plain["targets"], changed["targets"]) and (plain["kind"] == PAD).sum() >= 0


def test_errors_of_the_thread_arrive():
    numbers = iter(range(3))
    loader = ahead(lambda: next(numbers))
    assert [next(loader) for _ in range(3)] == [0, 1, 2]
    with pytest.raises((StopIteration, RuntimeError)):
        next(loader)


def test_closing_ends_the_thread():
    made = []
    loader = ahead(lambda: made.append(0) or len(made))
    assert next(loader) == 1
    loader.close()
    count = len(made)
    assert not [thread for thread in threading.enumerate() if thread.name == "mamtra-ahead"]
    assert len(made) == count
