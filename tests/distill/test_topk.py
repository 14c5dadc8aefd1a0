"""Top-k divergences: exact where k is everything, below the true one elsewhere."""

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
    assert found[0] <= found[1] <= found[2] <= true * (1 + 1e-6)
    assert found[3] == pytest.approx(true.item(), rel=1e-4) and found[2] == pytest.approx(true.item(), rel=1e-3)


def test_mass_of_the_rest_is_exact():
    p = TEACHER.double().softmax(-1)
    for k in (5, 30, 39):
        top = top_k_of(TEACHER, k)
        expected = p.sort(descending=True).values[:, k:].sum(-1).log().float()
        torch.testing.assert_close(top.rest, expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(top.ids.long(), p.topk(k).indices)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_class_that_neither_gives_any_mass_changes_nothing(direction, alpha):
    """A masked vocabulary has -inf in both; values and gradients are those without these classes."""
    options = {"alpha": alpha, "direction": direction}

    def value_and_gradient(student, teacher, function):
        student = student.clone().requires_grad_(True)
        found = function(student, teacher, VALID, **options)
        found.backward()
        return found.detach(), student.grad

    def masked(logits):
        return torch.cat((logits, torch.full((3, 7), -torch.inf)), -1)

    for function in (skew_kl, lambda s, t, v, **o: topk_skew_kl(s, top_k_of(t, 10), v, **o)):
        expected, gradient = value_and_gradient(STUDENT, TEACHER, function)
        found, padded = value_and_gradient(masked(STUDENT), masked(TEACHER), function)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(padded[:, :40], gradient)
        assert not padded[:, 40:].any()


def test_gradients_point_to_the_teacher():
    student = STUDENT.clone().requires_grad_(True)
    topk_skew_kl(student, top_k_of(TEACHER, 10), VALID).backward()
    with torch.no_grad():
        after = student - 0.5 * student.grad
    assert skew_kl(after, TEACHER, VALID) < skew_kl(STUDENT, TEACHER, VALID)
    assert student.grad[1].abs().max() == 0
