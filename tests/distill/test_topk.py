"""Top-k divergences: exact where k is everything, below the true one elsewhere."""

from __future__ import annotations

import pytest
import torch

from mamtra.distill.losses import skew_kl
from mamtra.distill.topk import top_k_of, topk_skew_kl

G = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(3, 40, generator=G) * 2, torch.randn(3, 40, generator=G) * 2
VALID = torch.tensor([True, False, True])


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_bounds(direction, alpha):
    options = {"alpha": alpha, "direction": direction}
    true = skew_kl(STUDENT, TEACHER, VALID, **options)
    found = [topk_skew_kl(STUDENT, top_k_of(TEACHER, k), VALID, **options) for k in (2, 10, 39, 40)]
    assert found[0] <= found[1] <= found[2] <= true + 1e-5
    assert found[3] == pytest.approx(true.item(), rel=1e-4) and found[2] == pytest.approx(true.item(), rel=1e-3)


def test_mass_of_the_rest_is_exact():
    p = TEACHER.softmax(-1)
    top = top_k_of(TEACHER, 5)
    torch.testing.assert_close(top.rest.exp(), 1 - p.sort(descending=True).values[:, :5].sum(-1))
    assert torch.equal(top.ids.long(), p.topk(5).indices)


def test_gradients_point_to_the_teacher():
    student = STUDENT.clone().requires_grad_(True)
    topk_skew_kl(student, top_k_of(TEACHER, 10), VALID).backward()
    with torch.no_grad():
        after = student - 0.5 * student.grad
    assert skew_kl(after, TEACHER, VALID) < skew_kl(STUDENT, TEACHER, VALID)
    assert student.grad[1].abs().max() == 0
