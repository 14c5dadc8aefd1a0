"""What an engine tells of its streams and their memory."""

import pytest
import torch

from mamtra.engine.engine import Engine
from mamtra.engine.request import Request, Unistream
from mamtra.engine.state_pool import stream_bytes
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM, SpeechLMConfig

CONFIG = SpeechLMConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    text_vocab_size=40, num_speech_tokens=30, speech_vocab_size=33, eos_id=30, fill_id=32,
    layer_types=("full_attention", "linear_attention", "full_attention"),
)  # fmt: skip


@pytest.mark.parametrize("held", ["device", "host"])
def test_stats_tell_runs_and_their_memory(held):
    lm = SpeechLM(CONFIG, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    lm.llm_decoder.bias[30:] = -100  # no stream ends by itself
    engine = Engine(lm, slots=2, capacity=400, deterministic=False if held == "device" else None)
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)
    streams = [
        engine.submit(Request(Unistream([1, 2, 3], lengths=LengthConfig(min_ratio=10)), seed=seed)) for seed in range(3)
    ]
    next(streams[0])
    stats = engine.stats()
    assert (stats.running, stats.waiting) == (2, 1)
    if held == "device":
        assert stats.kv_bytes + stats.state_bytes == 3 * stream_bytes(lm.config, 400, torch.float32)
    else:
        states = [each.state for each in engine._batcher.held._streams.values() if each.state is not None]
        assert stats.kv_bytes + stats.state_bytes == sum(state.bytes() for state in states) > 0
        assert stats.state_bytes == sum(state.layers[1].conv.nbytes + state.layers[1].ssm.nbytes for state in states)
    for stream in streams:
        stream.result()
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)
