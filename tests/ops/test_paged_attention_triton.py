"""The kernel of attention over pages against the plain function, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import pytest
import torch

from mamtra.ops.paged_attention import paged_attention_naive
from mamtra.ops.places import Places
from tests.ops.kernels import DEVICE, kernels_run
from tests.ops.test_paged_attention import PAGES, SIZE, inputs

pytest.importorskip("triton")


def on(places: Places, device: str) -> Places:
    moved = {name: value.to(device) for name, value in vars(places).items() if isinstance(value, torch.Tensor)}
    return Places(**moved, hidden=places.hidden)


@kernels_run
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16] if DEVICE == "cuda" else [torch.float32])
def test_the_kernel_is_the_plain_function(dtype):
    from mamtra.ops.paged_attention_triton import attend

    for seed, rows in enumerate([[(0, 0, 4)], [(3, 2, SIZE), (1, 1, 7), (0, 2, 1)]]):
        q, k, v, pages, places = inputs(rows, seed, dtype)
        q, k, v, mine = (value.to(DEVICE, copy=True) for value in (q, k, v, pages))
        unseen = sorted(set(range(PAGES)) - set(places.table().flatten().tolist()) - set(places.target.tolist()))
        mine[unseen] = float("nan")
        found = attend(q, k, v, mine, on(places, DEVICE)).cpu()
        wanted = paged_attention_naive(*(value.float().cpu() for value in (q, k, v)), pages := pages.float(), places)
        limit = 1e-5 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(found.float(), wanted, atol=limit, rtol=limit)
        target = places.target
        last = torch.tensor([row[2] for row in rows])[:, None] > torch.arange(SIZE)
        seen = last[:, None, None, :, None]
        assert torch.equal((mine[target].cpu().float() * seen), pages[target] * seen)
