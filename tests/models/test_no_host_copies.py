"""A training step can be recorded as a CUDA graph: nothing in it makes a tensor on the host or copies one from there."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mamtra.distill.losses import DistillLossConfig, distill_loss
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from tests.factories import tiny_config


class OnlyOn(TorchDispatchMode):
    """Refuses every operation that reads or makes a tensor elsewhere."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != self.device:
                raise AssertionError(f"{func} touches {leaf.device}")
        return result


def speech_lm(plan: LayerPlan) -> SpeechLM:
    config = tiny_config(speech=30, text_vocab_size=20, layer_types=plan.layer_types)
    return SpeechLM(config).to("meta")


@pytest.mark.parametrize("ratio", ["1:0", "1:1"])
def test_a_step_stays_on_its_device(ratio):
    lm = speech_lm(LayerPlan.from_ratio(2, ratio, "block-beg"))
    kind, ids, target = (torch.zeros(2, 12, dtype=torch.int64, device="meta") for _ in range(3))
    with OnlyOn("meta"):
        hidden = lm(lm.embed(kind, ids))
        logits = lm.logits(hidden)
        distill_loss(
            DistillLossConfig(), student_logits=logits, teacher_logits=logits.detach(), targets=target,
            student_emb=[hidden], teacher_emb=[hidden.detach()], emb_valid=kind >= 0,
        ).total.backward()  # fmt: skip


def test_a_copy_from_the_host_is_noticed():
    with pytest.raises(AssertionError, match="touches cpu"), OnlyOn("meta"):
        torch.ones(2).to("meta")
