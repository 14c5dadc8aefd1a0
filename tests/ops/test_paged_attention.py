"""Attention over pages is attention over one sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.ops.paged_attention import paged_attention_naive
from mamtra.ops.places import Places

HEADS, WIDTH, SIZE, BRANCHES, PAGES = 2, 16, 10, 2, 12


def inputs(rows: list[tuple[int, int, int]], seed: int, dtype: torch.dtype = torch.float32) -> tuple:
    """Rows of (pages in front, pages in the window, new positions) in a window of 2 pages, of which 3 positions are hidden."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(PAGES - 1, generator=draw).add(1).tolist()
    front, tables, targets = order[:3], [], []
    for number, (_, window, _) in enumerate(rows):
        mine = order[3 + 2 * number : 5 + 2 * number]
        tables.append([0] * (2 - window) + mine[2 - window :])
        targets.append(mine[0])
    places = Places(
        torch.tensor([front] * len(rows)),
        torch.tensor([row[0] for row in rows]),
        torch.tensor(tables),
        torch.tensor([row[1] for row in rows]),
        torch.tensor(targets),
        torch.tensor([row[2] for row in rows]),
        3,
    )
    new = torch.randn(3, BRANCHES * len(rows), SIZE, HEADS, WIDTH, generator=draw).transpose(2, 3).to(dtype)
    return *new, torch.randn(PAGES, BRANCHES, 2, SIZE, HEADS * WIDTH, generator=draw).to(dtype), places


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, SIZE)), min_size=1, max_size=4)


@settings(max_examples=20)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_pages_are_one_sequence(rows, seed):
    q, k, v, pages, places = inputs(rows, seed)
    before = pages.clone()
    out = paged_attention_naive(q, k, v, pages, places)
    for number, (front, window, new) in enumerate(rows):
        listed = places.prefix[number, :front].tolist() + places.ring[number, 2 - window :].tolist()
        for branch in range(BRANCHES):
            at = branch * len(rows) + number
            kept = [before[page, branch].unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for page in listed]
            if window == 2:
                kept[front] = kept[front][:, :, 3:]
            keys, values = (
                torch.cat([*(pair[i] for pair in kept), fresh[at, :, :new]], dim=1) for i, fresh in enumerate((k, v))
            )
            alone = F.scaled_dot_product_attention(q[at], keys, values)
            torch.testing.assert_close(out[at], alone, atol=1e-5, rtol=1e-4)
            written = pages[places.target[number], branch]
            assert torch.equal(written[0], k[at].transpose(0, 1).flatten(1))
            assert torch.equal(written[1], v[at].transpose(0, 1).flatten(1))
    others = [page for page in range(PAGES) if page not in places.target.tolist()]
    assert torch.equal(pages[others], before[others])
