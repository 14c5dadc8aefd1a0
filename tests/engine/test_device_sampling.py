"""Sampling on the device: random numbers by seed and draw, the rules of every slot, and agreement with the plain sampler."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mamtra.engine.device_sampling import sample_slots_naive
from mamtra.engine.request import Sampling, Segment
from mamtra.engine.sampling import RASConfig, sample_all
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.slots import FAILED, IDLE
from mamtra.errors import MamTraError
from mamtra.models.sampling_config import GuardConfig
from mamtra.ops.philox import philox_uniform, philox_uniform_naive
from tests.factories import small_config

CONFIG = small_config(
    "a", 90, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_key_value_heads=1, text_vocab_size=10
)
LOGITS = torch.randn(40, 7, 93, generator=torch.Generator().manual_seed(0)) * 2
LOGITS[:, :, 1:4] += 3
LOGITS[:, [0, 2, 4, 5], 90:] -= 20  # these go on
LOGITS[20, 0, 7] = float("nan")
RULES = (
    (Sampling(guards=GuardConfig(most_repeats=1)), Segment([], most=100, least=50)),
    (Sampling(), Segment([], least=5, most=40)),
    (Sampling(greedy=True), Segment([], most=12, least=100)),
    (
        Sampling(RASConfig(top_p=0.95, top_k=40, win_size=3, tau_r=0.5)),
        Segment([], interleaved=True, fill_at=9, most=100),
    ),
    (Sampling(guards=GuardConfig(most_silence=2)), Segment([], most=100, least=100)),
    (Sampling(guards=GuardConfig(most_repeats=2)), Segment([], most=100, least=100)),
    (Sampling(temperature=3.0), Segment([], most=100, least=35)),
)
SLOTS = len(RULES)


def slot_table(device: torch.device) -> SlotTable:
    table = SlotTable(CONFIG, SLOTS, device, torch.float32, (1, 2, 3))
    slots = torch.arange(SLOTS, device=device)
    table.start(slots, [(1000 * slot - 1, sampling) for slot, (sampling, _) in enumerate(RULES)])
    table.begin(slots, [(segment, segment.most) for _, segment in RULES], torch.zeros(SLOTS, 16, device=device))
    return table


def steps(sample, table: SlotTable, logits: Tensor) -> Tensor:
    """(steps, slots) tokens."""
    embeddings = torch.linspace(-1, 1, 93, device=logits.device)[:, None].expand(-1, 16).contiguous()
    slots = torch.arange(SLOTS, dtype=torch.int32, device=logits.device)
    lengths = torch.zeros(SLOTS + 1, dtype=torch.int32, device=logits.device)
    found = torch.stack([sample(row, slots, table, lengths, embeddings) for row in logits])
    assert torch.equal(lengths[:SLOTS], (found != IDLE).sum(0).int())
    return found


def test_philox():
    # the test vectors of Random123 for Philox 4x32-10, key and counter zero
    assert philox_uniform_naive(0, 0) == ((0x6627E8D5 >> 8) * 2.0**-24, (0xE169C58D >> 8) * 2.0**-24)
    seeds = [0, 1, -1, 2**62 + 12345, -(2**63), 123456789]
    counters = [0, 1, 2, 77, 2**31 - 1, 5]
    first, second = philox_uniform(torch.tensor(seeds), torch.tensor(counters, dtype=torch.int32))
    for i, pair in enumerate(zip(seeds, counters, strict=True)):
        assert philox_uniform_naive(*pair) == (first[i].item(), second[i].item())


def test_rules_of_every_slot():
    tokens = steps(sample_slots_naive, slot_table(torch.device("cpu")), LOGITS)
    # not finite
    assert tokens[20, 0] == FAILED and (tokens[21:, 0] == IDLE).all()
    assert (tokens[1:20, 0] != tokens[:19, 0]).all()
    # eos and what lies behind it end a stream, but not before the fifth draw
    assert (tokens[:5, 1] != CONFIG.eos_id).all()
    # greedy, and the longest length
    legal = LOGITS[:12, 2].clone()
    legal[:, CONFIG.eos_id] = float("-inf")
    assert torch.equal(tokens[:12, 2], legal.argmax(1).int()) and (tokens[12:, 2] == IDLE).all()
    # interleaved
    end = tokens[:, 3].tolist().index(CONFIG.fill_id)
    assert end <= 9 and (tokens[:end, 3] < CONFIG.eos_id).all() and (tokens[end + 1 :, 3] == IDLE).all()
    # from all ids: nothing that ends before the 35th draw, soon after it something does
    assert (tokens[:35, 6] < CONFIG.eos_id).all()
    silent = [1 <= token <= 3 for token in tokens[:, 4].tolist()]
    assert any(silent) and not any(all(silent[i : i + 3]) for i in range(38))


def test_the_nucleus_has_the_right_distribution():
    table = SlotTable(CONFIG, 2000, torch.device("cpu"), torch.float32, ())
    logits = torch.full((93,), -20.0)
    logits[:4] = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    slots = torch.arange(2000)
    table.start(slots, [(slot, Sampling(RASConfig(top_p=0.9, win_size=0))) for slot in range(2000)])
    table.begin(slots, [(Segment([]), 9)] * 2000, torch.zeros(2000, 16))
    tokens = sample_slots_naive(
        logits.expand(2000, -1), slots, table, torch.zeros(2001, dtype=torch.int32), torch.zeros(93, 16)
    )
    fractions = tokens.bincount(minlength=4) / 2000
    assert (fractions - torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95).abs().max() < 0.03


def test_draws_from_all_ids_at_a_temperature():
    logits = torch.full((93,), -1e4)
    logits[:4] = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    logits[91] = 5.0
    table, count = SlotTable(CONFIG, 4000, torch.device("cpu"), torch.float32, ()), 4000
    slots = torch.arange(count)
    table.start(slots, [(slot, Sampling(temperature=2.0)) for slot in range(count)])
    table.begin(slots, [(Segment([], least=1), 9)] * count, torch.zeros(count, 16))
    given = logits.expand(count, -1), slots, table, torch.zeros(count + 1, dtype=torch.int32)
    tokens = sample_slots_naive(*given, torch.zeros(93, 16))
    expected = (logits[:4] / 2).softmax(0)
    assert (tokens.bincount(minlength=4) / count - expected).abs().max() < 0.03
    ends = sample_slots_naive(*given, torch.zeros(93, 16))
    assert (ends == 91).float().mean() > 0.8
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([sample_all(logits[:90], 2.0, generator) for _ in range(count)])
    assert (drawn.bincount(minlength=4) / count - expected).abs().max() < 0.03


def test_settings_beyond_the_engines_tables_are_refused():
    for wrong in ({"temperature": 0.0}, {"temperature": 1.0, "greedy": True}, {"temperature": float("nan")}):
        with pytest.raises(MamTraError, match="temperature"):
            Sampling(**wrong)
    with pytest.raises(MamTraError, match="top_k up to 128"):
        Sampling(RASConfig(top_k=129))
