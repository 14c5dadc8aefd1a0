"""Parity with the original CosyVoice 2 language model on a tiny random model."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from mamtra.distill.losses import cross_entropy
from mamtra.models.layout import IGNORE, PAD, bistream, fits_bistream, unistream


@pytest.fixture(scope="module")
def lm(golden):
    return golden.lm()


def test_unistream_layout_is_exact(golden, agree):
    g = golden["lm_train_unistream"]
    texts = [row[:n] for row, n in zip(g["text_token"], g["text_token_len"], strict=True)]
    speeches = [row[:n] for row, n in zip(g["speech_token"], g["speech_token_len"], strict=True)]
    batch = unistream(texts, speeches, eos_id=golden.layout["eos_id"])
    for part, name in (("kind", "input_kind"), ("ids", "input_id"), ("targets", "target"), ("lengths", "input_len")):
        agree("layout", getattr(batch, part), g[name])


@torch.no_grad()
def test_training_forward(golden, lm, agree):
    g = golden["lm_train_unistream"]
    hidden = lm(lm.embed(g["input_kind"], g["input_id"]))
    logits = lm.logits(hidden)
    rows = g["target"] != IGNORE
    agree("hidden", hidden[rows], g["hidden"], 5e-5)
    agree("logits", logits[rows], g["logits"], 1e-4)
    agree("best tokens", logits[rows].argmax(-1), g["argmax"])
    assert torch.equal(rows.nonzero(), g["target_pos"])
    aims = g["target"][rows]
    chosen = logits[rows].log_softmax(-1).gather(1, aims[:, None])[:, 0]
    agree("target log-probabilities", chosen, g["target_logprob"], 1e-4)
    agree("accuracy", (logits[rows].argmax(-1) == aims).float().mean()[None], g["acc"], 1e-6)
    agree("loss", cross_entropy(logits, g["target"])[None], g["loss"], 2e-5)


@torch.no_grad()
def test_bistream_training_forward(golden, lm, agree):
    """Interleaved utterances, and one with too little speech for it that is laid out with all text first."""
    g = golden["lm_train_bistream"]
    rows = range(len(g["text_token_len"]))
    texts = [g["text_token"][i, : g["text_token_len"][i]] for i in rows]
    speeches = [g["speech_token"][i, : g["speech_token_len"][i]] for i in rows]
    pairs = list(zip(texts, speeches, strict=True))
    ids = golden.layout
    interleaved = [fits_bistream(len(text), len(speech), ids["mix"]) for text, speech in pairs]
    assert interleaved == (g["target"] == ids["fill_id"]).any(1).tolist() and any(interleaved)
    batches = [
        bistream([text], [speech], **ids) if mixed else unistream([text], [speech], eos_id=ids["eos_id"])
        for mixed, (text, speech) in zip(interleaved, pairs, strict=True)
    ]
    kind, ids, targets = (pad_sequence([b[part][0] for b in batches], True, -1.0).long() for part in range(3))
    for made, name in ((kind, "input_kind"), (ids, "input_id"), (targets, "target")):
        agree("layout", made, g[name])
    logits = lm.logits(lm(lm.embed(kind, ids)))
    aimed = targets != IGNORE
    found = logits[aimed].log_softmax(-1).gather(1, targets[aimed, None])[:, 0]
    agree("target log-probabilities", found, g["target_logprob"], 1e-4)
    agree("best tokens", logits[aimed].argmax(-1), g["argmax"])
    agree("loss", cross_entropy(logits, targets)[None], g["loss"], 2e-5)


def test_embeddings_are_rows_of_their_tables(golden, lm):
    g = golden["lm_train_bistream"]
    embedded = lm.embed(g["input_kind"], g["input_id"])
    tables = {0: lm.llm_embedding, 1: lm.llm_embedding, 2: lm.model.embed_tokens, 3: lm.speech_embedding}
    for kind, table in tables.items():
        places = g["input_kind"] == kind
        assert places.any() and torch.equal(embedded[places], table.weight[g["input_id"][places]])
    assert (embedded[g["input_kind"] == PAD] == -1.0).all()
