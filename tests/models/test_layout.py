"""The bistream layout against a list-by-list construction and against the original code."""

import numpy as np
import pytest
import torch

from mamtra.models.layout import IGNORE, PAD, SOS, SPEECH, TASK, TEXT, bistream, fits_bistream


def by_hand(text, speech):
    """Lists of kind, id and target, chunk by chunk."""
    out = [(SOS, SOS, IGNORE)]
    for _ in range(-(-(len(text) + 1) // 5)):
        if len(text) >= 5:
            head, text = text[:5], text[5:]
            said, speech = speech[:15], speech[15:]
            out += [(TEXT, i, IGNORE) for i in head[:4]] + [(TEXT, head[4], said[0])]
            out += list(zip([SPEECH] * 15, said, [*said[1:], 6563], strict=True))
        else:
            out += [(TEXT, i, IGNORE) for i in text] + [(TASK, TASK, speech[0])]
            out += list(zip([SPEECH] * len(speech), speech, [*speech[1:], 6561], strict=True))
    return torch.tensor(out).T


def test_rows_of_many_lengths():
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 99, n).tolist() for n in (1, 4, 5, 6, 10, 23)]
    speeches = [rng.integers(0, 6561, 3 * len(text) + 1 + i).tolist() for i, text in enumerate(texts)]
    batch = bistream(texts, speeches)
    for row, (text, speech) in enumerate(zip(texts, speeches, strict=True)):
        kind, ids, targets = by_hand(text, speech)
        n = int(batch.lengths[row])
        assert n == len(text) + len(speech) + 2
        assert torch.equal(batch.kind[row, :n], kind) and (batch.kind[row, n:] == PAD).all()
        assert torch.equal(batch.ids[row, :n], ids) and torch.equal(batch.targets[row, :n], targets)
        assert (batch.targets[row, n:] == IGNORE).all()


def test_too_little_speech_is_refused():
    assert not fits_bistream(5, 15) and fits_bistream(5, 16)
    assert not fits_bistream(4, 12, (4, 12)) and fits_bistream(5, 15, (4, 11))
    with pytest.raises(ValueError, match="too few"):
        bistream([[1] * 5], [[1] * 15])


def test_bistream_layout_is_exact(golden, agree):
    g, fill = golden["lm_train_bistream"], golden.layout["fill_id"]
    rows = range(len(g["text_token_len"]))
    texts = [g["text_token"][i, : g["text_token_len"][i]] for i in rows]
    speeches = [g["speech_token"][i, : g["speech_token_len"][i]] for i in rows]
    for i in rows:
        if not bool((g["target"][i] == fill).any()):
            continue
        batch = bistream([texts[i]], [speeches[i]], **golden.layout)
        n = int(batch.lengths[0])
        assert n == g["input_len"][i]
        agree("layout", batch.kind[0], g["input_kind"][i, :n])
        agree("layout", batch.ids[0], g["input_id"][i, :n])
        agree("layout", batch.targets[0], g["target"][i, :n])
