"""The losses of a micro-batch in chunks, with their gradients, against those of all logits at once."""

from __future__ import annotations

import pytest
import torch

from mamtra.distill.distill_loss import DistillLossFunction, head_logits
from mamtra.distill.losses import DistillLossConfig, cross_entropy, distill_loss, skew_kl
from mamtra.distill.topk import top_k_of, topk_skew_kl
from mamtra.models.layout import PAD, SPEECH, TEXT
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from tests.factories import tiny_config

ROWS, LENGTH = 3, 11


def speech_lm(seed: int, ratio: str) -> SpeechLM:
    config = tiny_config(speech=30, text_vocab_size=20, layer_types=LayerPlan.from_ratio(2, ratio).layer_types)
    lm = SpeechLM(config, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        lm.llm_decoder.weight.mul_(30)
        lm.llm_decoder.bias.normal_(generator=torch.Generator().manual_seed(seed))
    return lm


@pytest.fixture
def models():
    return speech_lm(0, "1:1"), speech_lm(1, "1:0").requires_grad_(False)


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    kind = torch.where(torch.arange(LENGTH) < 4, TEXT, SPEECH).repeat(ROWS, 1)
    kind[1, 8:] = PAD
    targets = torch.randint(0, 33, (ROWS, LENGTH), generator=draw).masked_fill(kind != SPEECH, -1)
    return kind, torch.randint(0, 20, (ROWS, LENGTH), generator=draw).masked_fill(kind == PAD, 0), targets


@pytest.mark.parametrize("chunk", [1, 8, 33, 100])
@pytest.mark.parametrize("trained", ["all", "mixers"])
def test_chunks_are_the_whole(models, batch, chunk, trained):
    student, teacher = models
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(trained == "all" or ".mamba." in name)
    learning = {name: p for name, p in student.named_parameters() if p.requires_grad}
    kind, ids, targets = batch
    config = DistillLossConfig(ce_weight=0.7, logits_weight=1.3, emb_weight=0.5)
    hidden, aim = (lm(lm.embed(kind, ids)) for lm in models)
    expected = distill_loss(
        config, student_logits=student.logits(hidden), teacher_logits=teacher.logits(aim), targets=targets,
        student_emb=[hidden], teacher_emb=[aim], emb_valid=kind != PAD,
    )  # fmt: skip
    found = DistillLossFunction(student, teacher, config, chunk=chunk)(kind, ids, targets)
    torch.testing.assert_close(list(found), list(expected))
    wanted = torch.autograd.grad(expected.total * 0.3, list(learning.values()), allow_unused=True)
    mine = torch.autograd.grad(found.total * 0.3, list(learning.values()), allow_unused=True)
    for name, one, other in zip(learning, mine, wanted, strict=True):
        torch.testing.assert_close(one, other, msg=lambda m, name=name: f"{name}: {m}")
    with torch.no_grad():
        silent = DistillLossFunction(student, teacher, config, chunk=chunk)(kind, ids, targets)
    torch.testing.assert_close(list(silent), list(expected))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_ids_that_never_come_change_nothing(models, batch, direction, alpha):
    student, targets = models[0], batch[2]
    hidden = torch.randn(ROWS, LENGTH, 32, generator=torch.Generator().manual_seed(3), requires_grad=True)
    learning, results = (hidden, *student.llm_decoder.parameters()), []
    for aligned in (False, True):
        mine, theirs = (head_logits(lm, hidden, aligned=aligned) for lm in models)
        assert mine.shape[-1] == (64 if aligned else 33)
        options = {"alpha": alpha, "direction": direction}
        kl = skew_kl(mine, theirs, targets >= 0, **options)
        top = topk_skew_kl(mine, top_k_of(theirs.detach(), 5), targets >= 0, **options)
        loss = cross_entropy(mine, targets) + kl + top
        results.append((loss, *torch.autograd.grad(loss, learning)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_sums_between_layers_in_half_precision(models, batch):
    student, teacher = models
    kinds = []
    student.model.layers[1].register_forward_pre_hook(lambda _, args: kinds.append(args[0].dtype))
    config, gradients, losses = DistillLossConfig(), [], []
    for residual in ("float32", "bf16"):
        loss = DistillLossFunction(student, teacher, config, precision="bf16", residual=residual)(*batch).total
        gradients.append(torch.autograd.grad(loss, student.llm_decoder.weight)[0])
        losses.append(loss.detach())
    assert kinds == [torch.float32, torch.bfloat16]
    torch.testing.assert_close(*losses, rtol=0.02, atol=0)
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()
