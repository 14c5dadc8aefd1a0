"""Kernels of feed-forward layers and rotary positions in Triton's interpreter (see `test_mixer_triton`), against the plain form."""

import pytest
import torch
import torch.nn.functional as F

from mamtra.ops.rope import apply_rope, rope_frequencies, rope_table
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")
pytestmark = kernels_run


def compare(form, plain, args, dtype, limit):
    """Outputs and gradients of the first arguments against those in float64."""
    results = []
    for f, kind in ((form, dtype), (plain, torch.float64)):
        mine = [t.to(DEVICE, kind).requires_grad_() for t in args]
        made = f(*mine)
        made = made if isinstance(made, tuple) else (made,)
        draw = torch.Generator().manual_seed(0)
        total = sum(
            (y.double() * torch.randn(y.shape, generator=draw, dtype=torch.float64).to(DEVICE)).sum() for y in made
        )
        results.append((*made, *torch.autograd.grad(total, mine)))
    for mine, expected in zip(*results, strict=True):
        assert mine.dtype == dtype and mine.shape == expected.shape
        assert (mine.double() - expected).norm() < limit * expected.norm()


@pytest.mark.parametrize(("rows", "inner", "outer"), [(3, 16, 8), (130, 72, 136), (300, 64, 256)])
def test_gated_linear(rows, inner, outer):
    from mamtra.ops.gated_linear_triton import gated_linear_triton

    draw = torch.Generator().manual_seed(rows)
    x = torch.randn(2, rows, inner, generator=draw)
    gate, up = (torch.randn(outer, inner, generator=draw) / inner**0.5 for _ in range(2))
    compare(
        gated_linear_triton,
        lambda x, g, u: F.silu(F.linear(x, g)) * F.linear(x, u),
        (x, gate, up),
        torch.float16,
        0.002,
    )
    with torch.no_grad():
        made = gated_linear_triton(x.to(DEVICE).half(), gate.to(DEVICE), up.to(DEVICE))
    torch.testing.assert_close(made.float().cpu(), F.silu(F.linear(x, gate)) * F.linear(x, up), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("length", "heads", "groups", "size"), [(1, 2, 1, 16), (70, 4, 2, 32)])
def test_rope(length, heads, groups, size, dtype):
    from mamtra.ops.rope_triton import rope_triton

    cos, sin = rope_table(length, rope_frequencies(size, 1e4, device=DEVICE))

    def plain(joint):
        q, k, v = joint.unflatten(-1, (-1, size)).split((heads, groups, groups), 2)
        q, k = (apply_rope(t.transpose(1, 2), cos.double(), sin.double()).transpose(1, 2) for t in (q, k))
        return q, k, v

    joint = torch.randn(3, length, (heads + 2 * groups) * size, generator=torch.Generator().manual_seed(1))
    limit = 1e-6 if dtype == torch.float32 else 0.001
    compare(lambda t: rope_triton(t, cos, sin, heads, groups), plain, (joint,), dtype, limit)
