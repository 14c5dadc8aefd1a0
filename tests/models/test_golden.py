"""Parity with the original CosyVoice 2 language model on a tiny random model."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence

from mamtra.distill.losses import cross_entropy
from mamtra.models.layout import IGNORE, PAD, bistream, fits_bistream, unistream
from tests.factories import golden_lm


@pytest.fixture(scope="module")
def lm(golden):
    return golden_lm(golden)


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


@torch.no_grad()
def test_bistream_training_forward(golden, lm):
    """Interleaved utterances, and one with too little speech for it that is laid out with all text first."""
    g = load_file(golden / "lm_train_bistream.safetensors")
    rows = range(len(g["text_token_len"]))
    texts = [g["text_token"][i, : g["text_token_len"][i]] for i in rows]
    speeches = [g["speech_token"][i, : g["speech_token_len"][i]] for i in rows]
    pairs = list(zip(texts, speeches, strict=True))
    assert [fits_bistream(len(text), len(speech)) for text, speech in pairs] == [True, True, True, False]
    batches = [(bistream if fits_bistream(len(t), len(s)) else unistream)([t], [s]) for t, s in pairs]
    kind, ids, targets = (pad_sequence([b[part][0] for b in batches], True, -1.0).long() for part in range(3))
    assert torch.equal(kind, g["input_kind"]) and torch.equal(ids, g["input_id"]) and torch.equal(targets, g["target"])
    logits = lm.logits(lm(lm.embed(kind, ids)))
    aimed = targets != IGNORE
    found = logits[aimed].log_softmax(-1).gather(1, targets[aimed, None])[:, 0]
    assert (found - g["target_logprob"]).abs().max() < 1e-4
    assert torch.equal(logits[aimed].argmax(-1), g["argmax"])
    assert (cross_entropy(logits, targets) - g["loss"]).abs() < 2e-5


def test_embeddings_are_rows_of_their_tables(golden, lm):
    g = load_file(golden / "lm_train_bistream.safetensors")
    embedded = lm.embed(g["input_kind"], g["input_id"])
    tables = {0: lm.llm_embedding, 1: lm.llm_embedding, 2: lm.model.embed_tokens, 3: lm.speech_embedding}
    for kind, table in tables.items():
        places = g["input_kind"] == kind
        assert places.any() and torch.equal(embedded[places], table.weight[g["input_id"][places]])
    assert (embedded[g["input_kind"] == PAD] == -1.0).all()
