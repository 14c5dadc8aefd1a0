"""Parity with the original CosyVoice 2 language model on a tiny random model."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from mamtra.distill.losses import cross_entropy
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import IGNORE, unistream
from mamtra.models.speech_lm import SpeechLM


def load_tiny(folder) -> SpeechLM:
    config = SpeechLMConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        text_vocab_size=512,
    )
    weights = torch.load(folder / "cosyvoice2-tiny" / "llm.pt", weights_only=True)
    weights = {k.replace("llm.model.model.", "model."): v for k, v in weights.items() if k not in ("epoch", "step")}
    del weights["llm.model.lm_head.weight"]
    with torch.device("meta"):
        lm = SpeechLM(config)
    lm.load_state_dict(weights, strict=True, assign=True)
    return lm.eval()


@pytest.fixture(scope="module")
def lm(golden):
    return load_tiny(golden)


def test_unistream_layout_is_exact(golden):
    g = load_file(golden / "lm_train_unistream.safetensors")
    texts = [row[:n] for row, n in zip(g["text_token"], g["text_token_len"], strict=True)]
    speeches = [row[:n] for row, n in zip(g["speech_token"], g["speech_token_len"], strict=True)]
    batch = unistream(texts, speeches)
    assert torch.equal(batch.kind, g["input_kind"])
    assert torch.equal(batch.ids, g["input_id"])
    assert torch.equal(batch.targets, g["target"])
    assert torch.equal(batch.lengths, g["input_len"])


@torch.no_grad()
def test_training_forward(golden, lm):
    g = load_file(golden / "lm_train_unistream.safetensors")
    hidden = lm(lm.embed(g["input_kind"], g["input_id"]))
    logits = lm.logits(hidden)
    rows = g["target"] != IGNORE
    assert (hidden[rows] - g["hidden"]).abs().max() < 5e-5
    assert (logits[rows] - g["logits"]).abs().max() < 1e-4
    assert torch.equal(logits[rows].argmax(-1), g["argmax"])
    assert (cross_entropy(logits, g["target"]) - g["loss"]).abs() < 2e-5
