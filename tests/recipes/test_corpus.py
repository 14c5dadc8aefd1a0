import random
from itertools import pairwise

import numpy as np
import tokens
import torch
from corpus import CODES, SOUND, Corpus, Row, ShardWriter, drawing_weights, finished, keep_codes
from speech import cut, error_rate
from texts import Weaver
from train_lm import add_token_noise

from mamtra.encoders.speech_tokenizer import MARGIN
from mamtra.models.layout import SPEECH, TEXT
from tests.factories import speech_like


def shard(folder, seconds):
    writer = ShardWriter(folder)
    for number, length in enumerate(seconds):
        writer.add(f"u{number}", "ann", "books", "həlˈO", speech_like(length, 24000), np.zeros(int(length * 50) + 2))
    writer.close()


def test_a_shard_of_codes_joins_a_token_set_after_those_with_sound(tmp_path, monkeypatch):
    shard(tmp_path / "a", [1.0, 0.5])
    shard(tmp_path / "b", [0.6])
    keep_codes(tmp_path / "a", [np.arange(25), np.arange(100, 113)])
    assert (tmp_path / "a" / CODES).exists() and not any((tmp_path / "a" / name).exists() for name in SOUND)
    assert len(finished([tmp_path])) == 2
    assert [row.tokens for row in Corpus([tmp_path], "cpu").rows] == [15]

    monkeypatch.setattr(tokens, "load_network", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(tokens, "tokenize_corpus", lambda *_: [np.full(15, 7)])
    arguments = ("--corpus", tmp_path, "--tokenizer", "x", "--out", tmp_path / "t.npz", "--device", "cpu")
    monkeypatch.setattr("sys.argv", ["tokens.py", *map(str, arguments)])
    tokens.main()
    found = tokens.TokenSet.load(tmp_path / "t.npz")
    assert [found.codes(i).tolist() for i in range(3)] == [[7] * 15, list(range(25)), list(range(100, 113))]


def test_woven_sentences_hold_only_word_pairs_of_the_books():
    lines = ["The cat sat on the mat.", "A dog ran to the cat, then slept."]
    weaver, rng = Weaver(lines), random.Random(3)
    pairs = {pair for line in lines for pair in pairwise(line.split())}
    woven = {weaver.weave(rng) for _ in range(200)}
    assert len(woven) > 2
    for sentence in woven:
        words = sentence.split()
        assert words[0] in ("The", "A") and sentence.endswith(".")
        body = set(pairwise(words[:-1]))
        assert body <= pairs


def test_disturbing_touches_speech_alone():
    kind = torch.tensor([[0, TEXT, TEXT, 1] + [SPEECH] * 400])
    ids = torch.full_like(kind, 5)
    torch.manual_seed(0)
    changed = add_token_noise(kind, ids, 0.25, 6561) != ids
    assert not changed[kind != SPEECH].any()
    assert 60 < changed.sum() < 140
    assert (add_token_noise(kind, ids, 0.0, 6561) == ids).all()


def test_an_utterance_at_the_very_beginning_is_cut_like_any_other():
    flat = torch.arange(1, 101, dtype=torch.int16)
    first = cut(flat, torch.tensor([0]), torch.tensor([2]), 3, 4)
    later = cut(torch.cat((flat.new_zeros(400), flat)), torch.tensor([100]), torch.tensor([2]), 3, 4)
    assert first.equal(later) and first.count_nonzero() == 8


def test_sources_are_drawn_by_their_fractions():
    rows = [Row(str(i), "ann", source, 1, "") for i, source in enumerate(("real", "books", "books", "letters"))]
    found = drawing_weights(rows, np.array([5, 1, 2, 1]), {"real": 0.4})
    assert np.allclose(found, [0.4, 0.15, 0.3, 0.15])
    assert np.allclose(drawing_weights(rows[1:], np.ones(3), {"real": 0.4}), 1 / 3)  # a source that is not there


def test_phone_errors_of_the_best_path():
    best = [0] * 2 * MARGIN + [1, 1, 0, 1, 2, 3, 0, 0]  # reads 1 1 2 3
    log_probs = torch.nn.functional.one_hot(torch.tensor([best + [3] * 4]), 5).float()
    assert error_rate(log_probs, torch.tensor([4]), [[1, 2, 3, 4]], MARGIN) == (2, 4)
