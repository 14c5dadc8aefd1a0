"""The batched beam search against a plain one, on random tables as a model."""

from __future__ import annotations

import pytest
import torch

from mamtra.evaluate.judges.beam_search import beam_search

END, WORDS = 0, 7


def naive(table, beams, limit):
    """Best sequence and its mean log probability for one table (limit + 1, V, V): step, last token, next token."""
    live, ended = [((), 0.0)], []
    for step in range(limit + 1):
        grown = []
        for tokens, total in live:
            scores = table[step, tokens[-1] if tokens else END].log_softmax(-1)
            grown += [((*tokens, token), total + float(scores[token])) for token in range(WORDS)]
        grown.sort(key=lambda one: -one[1])
        on = []
        for tokens, total in grown:
            if len(on) == beams:
                break
            if tokens[-1] != END:
                on.append((tokens, total))
            elif len(ended) < beams:
                ended.append((tokens[:-1], total))
        if len(ended) >= beams or step == limit:
            break
        live = on
    ended += live[: beams - len(ended)]
    tokens, total = max(ended, key=lambda one: one[1] / max(1, len(one[0])))
    return list(tokens), total / (len(tokens) + 1)


@pytest.mark.parametrize("ends", [-9.0, 0.0, 2.0])
def test_a_batch_finds_what_a_plain_search_finds(ends):
    torch.manual_seed(0)
    batch, beams, limit = 12, 3, 14
    tables = 2 * torch.randn(batch, limit + 1, WORDS, WORDS)
    tables[..., END] += ends
    lengths = []

    def follow(tokens, parents):
        lengths.append(1)
        assert parents.max() < beams
        return torch.stack([table[len(lengths), last] for table, last in zip(tables, tokens, strict=True)])

    found = beam_search(tables[:, 0, END], follow, beams=beams, end=END, limit=limit)
    for number, table in enumerate(tables):
        tokens, mean = naive(table, beams, limit)
        assert found.tokens[number] == tokens
        assert found.mean_log_prob[number] == pytest.approx(mean, abs=1e-4)
    lasting = {len(tokens) for tokens in found.tokens}
    assert lasting == {limit} if ends < 0 else len(lasting) > 2


def test_it_stops_once_all_are_done():
    steps = []

    def follow(tokens, parents):
        steps.append(1)
        return torch.tensor([9.0, 0, 0, 0]).expand(*tokens.shape, -1)

    found = beam_search(torch.tensor([[-9.0, 1, 0, 0]]), follow, beams=2, end=0, limit=100)
    assert found.tokens == [[1]] and len(steps) < 10


def test_a_model_that_never_ends_is_cut():
    found = beam_search(
        torch.tensor([[-99.0, 5, 0, 1]]),
        lambda tokens, parents: torch.tensor([-99.0, 5, 0, 1]).expand(*tokens.shape, -1),
        beams=2,
        end=0,
        limit=6,
    )
    assert found.tokens == [[1] * 6]
