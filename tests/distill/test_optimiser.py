"""The update of GPUs, whose fused Adam also runs on the CPU, against that of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mamtra.distill.optimiser import Optimiser
from mamtra.distill.settings import OptimizerSettings


def fused(optimiser: Optimiser) -> Optimiser:
    optimiser._on_device = True
    for group in optimiser.adam.param_groups:
        group.update(fused=True, foreach=False)
    return optimiser


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))


@pytest.mark.parametrize("size", [0.001, 100.0])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_fused_updates_are_those_of_the_cpu(size, name):
    settings = OptimizerSettings(name=name, lr=0.01, clip=1.0, average=0.9, weight_decay=0.1)
    plain, quick = Optimiser(network(), settings), fused(Optimiser(network(), settings))
    for step in range(4):
        # Adam itself takes no notice of a factor that stays the same
        drawn = torch.randn(plain.gradient.shape, generator=torch.Generator().manual_seed(step)) * size * 10**step
        for optimiser in (plain, quick):
            optimiser.gradient.copy_(drawn)
            optimiser.update()
    assert quick.norm == plain.norm and not quick.gradient.any()
    pairs = zip((*plain.parameters, *plain.averages), (*quick.parameters, *quick.averages), strict=True)
    for expected, found in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_that_are_no_numbers_change_nothing_ever_after():
    for optimiser in (Optimiser(network(), OptimizerSettings()), fused(Optimiser(network(), OptimizerSettings()))):
        before = [p.detach().clone() for p in optimiser.parameters]
        for value in (float("nan"), 1.0):
            optimiser.gradient.fill_(value)
            optimiser.update()
        assert optimiser.failed_at == 0 and optimiser.count == 2
        assert all(torch.equal(a, b) for a, b in zip(before, optimiser.parameters, strict=True))
