"""Losses against naive numpy, their minima, and what padding may not do."""

import numpy as np
import pytest
import torch

from mamtra.distill.losses import DistillLossConfig, cross_entropy, distill_loss, embedding_mse, masked_mean, skew_kl

G = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 5, 7, generator=G) * 3, torch.randn(2, 5, 7, generator=G) * 3
TARGETS = torch.tensor([[-1, 3, 0, 6, -1], [2, -1, 5, 5, 1]])
VALID = TARGETS != -1


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


def positions():
    return [(b, t) for b in range(2) for t in range(5) if TARGETS[b, t] != -1]


def test_cross_entropy():
    expected = np.mean([-np.log(softmax(STUDENT[b, t].double().numpy())[TARGETS[b, t]]) for b, t in positions()])
    assert cross_entropy(STUDENT, TARGETS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_skew_kl(alpha, direction):
    values = []
    for b, t in positions():
        p, q = softmax(TEACHER[b, t].double().numpy()), softmax(STUDENT[b, t].double().numpy())
        if direction == "forward":
            values.append(np.sum(p * np.log(p / (alpha * p + (1 - alpha) * q))))
        else:
            values.append(np.sum(q * np.log(q / ((1 - alpha) * p + alpha * q))) if alpha else np.sum(q * np.log(q / p)))
    assert skew_kl(STUDENT, TEACHER, VALID, alpha=alpha, direction=direction).item() == pytest.approx(
        np.mean(values), rel=1e-4
    )


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_skew_kl_is_least_where_both_agree(direction):
    student = TEACHER.clone().requires_grad_(True)
    loss = skew_kl(student, TEACHER, VALID, direction=direction)
    loss.backward()
    assert loss.abs() < 1e-6
    assert student.grad.abs().max() < 1e-6
    assert skew_kl(STUDENT, TEACHER, VALID, direction=direction) > 0.1


def test_forward_gradient_is_that_of_distillm():
    student = STUDENT.clone().requires_grad_(True)
    skew_kl(student, TEACHER, VALID, alpha=0.1).backward()
    other = STUDENT.clone().requires_grad_(True)
    p, q = TEACHER.softmax(-1), other.softmax(-1)
    per_position = -(p * torch.log(0.1 * p + 0.9 * q)).sum(-1)
    (per_position[VALID].sum() / VALID.sum()).backward()
    torch.testing.assert_close(student.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_embedding_mse():
    s, t = [STUDENT, STUDENT * 2], [TEACHER, TEACHER]
    rows = np.array([tuple(p) for p in positions()]).T
    expected = np.mean([((a - b).numpy()[rows[0], rows[1]] ** 2).mean() for a, b in zip(s, t, strict=True)])
    assert embedding_mse(s, t, VALID).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError):
        embedding_mse(s, t[:1], VALID)


def test_what_lies_at_ignored_positions_has_no_influence():
    broken = torch.where(VALID[..., None], STUDENT, float("nan")).requires_grad_(True)
    for loss, expected in (
        (cross_entropy(broken, TARGETS), cross_entropy(STUDENT, TARGETS)),
        (embedding_mse([broken], [TEACHER], VALID), embedding_mse([STUDENT], [TEACHER], VALID)),
        (skew_kl(broken, TEACHER, VALID), skew_kl(STUDENT, TEACHER, VALID)),
    ):
        torch.testing.assert_close(loss, expected)
    assert masked_mean(STUDENT[..., 0], torch.zeros_like(VALID)) == 0


def test_sum_of_the_parts():
    config = DistillLossConfig(
        ce_weight=0.5, logits_weight=2.0, emb_weight=3.0, skew_alpha=0.3, skew_direction="reverse"
    )
    student, teacher = STUDENT.clone().requires_grad_(True), TEACHER.clone().requires_grad_(True)
    loss = distill_loss(
        config,
        student_logits=student,
        teacher_logits=teacher,
        targets=TARGETS,
        student_emb=[student],
        teacher_emb=[teacher],
        emb_valid=torch.ones_like(VALID),
    )
    assert loss.ce == cross_entropy(STUDENT, TARGETS)
    assert loss.logits == skew_kl(STUDENT, TEACHER, VALID, alpha=0.3, direction="reverse")
    assert loss.emb.item() == pytest.approx((STUDENT - TEACHER).square().mean().item(), rel=1e-5)
    assert loss.total.item() == pytest.approx((0.5 * loss.ce + 2 * loss.logits + 3 * loss.emb).item(), rel=1e-6)
    loss.total.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_half_precision_logits_are_summed_in_float32():
    loss = skew_kl(STUDENT.bfloat16(), TEACHER.bfloat16(), VALID)
    assert loss.dtype == torch.float32
    assert loss == skew_kl(STUDENT.bfloat16().float(), TEACHER.bfloat16().float(), VALID)
