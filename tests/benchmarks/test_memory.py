"""Sums of the memory benchmark are those of real tensors, and the path for CUDA runs, with counters in its allocator's place."""

from __future__ import annotations

import json

import memory
import pytest
import torch

from mamtra.acoustic.flow_stream import FlowStream

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", memory.TYPES)
@pytest.mark.parametrize("ratio", ["1:0", "1:5"])
def test_sums_are_those_of_tensors(ratio, kind):
    found = memory.computed(ratio, kind, 2, True)
    nets = memory.networks(memory.config_of(ratio, True), memory.TYPES[kind], True, CPU)
    weights = sum(p.nbytes for module in nets.values() for p in module.parameters())
    assert sum(found[name] for name in memory.WEIGHTS) == weights
    state = nets["lm"].init_state(2, memory.CONTEXT)
    assert found["keys and values"] + found["Mamba states"] == state.bytes()


def test_the_flow_cache_of_a_stream():
    flow = memory.networks(memory.config_of("1:0", True), torch.float32, True, CPU)["flow"]
    token = torch.zeros(1, memory.TOKENS, dtype=torch.int64)
    prompt = token[:, : memory.PROMPT], torch.zeros(1, 2 * memory.PROMPT, 80), torch.ones(1, 192)
    stream = FlowStream(flow, *prompt)
    stream.push(token, final=True)
    frames = 2 * (memory.PROMPT + memory.TOKENS)
    # the inputs of convolutions that it keeps besides do not grow
    assert memory.flow_cache_bytes(flow.config, frames, torch.float32) == pytest.approx(stream.bytes, rel=0.15)


def test_the_way_on_cuda(monkeypatch):
    given = iter(range(10**6))
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda device: next(given))
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    for kind in memory.TYPES:
        found = memory.measured("1:1", kind, 1, True, CPU)
        assert set(found) == set(memory.MEASURED) and all(value > 0 for value in found.values())


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    def dies(ratio, *_):
        if ratio == "1:5":
            raise KeyboardInterrupt
        return 2**20

    monkeypatch.setattr(memory, "resident_of", dies)
    with pytest.raises(KeyboardInterrupt):
        memory.main(["--tiny", "--device", "cpu", "--out", str(tmp_path / "memory.json")])
    assert [row["ratio"] for row in json.loads((tmp_path / "memory.json").read_text())["rows"]] == ["1:0", "1:1"]
    assert "14 of 16 rows were left out" in (tmp_path / "memory.md").read_text()
