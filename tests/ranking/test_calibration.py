"""Calibration data: from files, from the model itself, and in batches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.engine import Engine
from mamtra.engine.reference import generate
from mamtra.engine.sampling import greedy
from mamtra.errors import MamTraError
from mamtra.models.layout import IGNORE, SPEECH, TEXT
from mamtra.ranking.calibration import Utterance, batches, own_speech, read_utterances
from tests.factories import tiny_parts

SETTINGS = GenerationConfig(max_ratio=4.0)


@pytest.fixture(scope="module")
def lm():
    return tiny_parts()["lm"].eval()


def letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def test_lines_of_words_or_ids(tmp_path, lm):
    path = tmp_path / "a.jsonl"
    lines = [{"text": "ab", "speech": [1, 2]}, {"text": [5, 6, 7], "speech": [3], "more": 1}]
    path.write_text("\n\n".join(map(json.dumps, lines)))
    found = read_utterances(path, lm.config, letters, count=9)
    assert found == [Utterance([97, 98], [1, 2]), Utterance([5, 6, 7], [3])]


def write_set(path, rows):
    text, speech = [np.array(t) for t, _ in rows], [np.array(s) for _, s in rows]
    np.savez(
        path,
        text=np.concatenate(text).astype(np.uint8), text_len=np.array([len(t) for t in text], np.uint16),
        speech=np.concatenate(speech).astype(np.uint16), speech_len=np.array([len(s) for s in speech], np.uint16),
        speakers=np.array(["a", "b"]),
    )  # fmt: skip


def test_token_sets_are_sampled_by_seed(tmp_path, lm):
    rows = [([i + 1, 7], [i, 6000 + i, 3]) for i in range(40)]
    write_set(tmp_path / "set.npz", rows)

    def sampled(**options):
        found = read_utterances(tmp_path / "set.npz", lm.config, letters, **options)
        return [([*map(int, one.text)], [*map(int, one.speech)]) for one in found]

    assert sampled(count=40) == rows
    assert sampled(count=99, every=10) == rows[::10]
    some = sampled(count=6, seed=1)
    assert len(some) == 6 and all(row in rows for row in some)
    assert some == sampled(count=6, seed=1) != sampled(count=6, seed=2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gone.jsonl", None, "no calibration file"),
        ("a.txt", "words", "a .jsonl or a .npz"),
        ("a.npz", "words", "not a token set"),
        ("a.jsonl", "", "holds no utterances"),
        ("a.jsonl", '{"text": "a", "speech": [1]}\n{"text": "a"}', "Line 2 of .* is not"),
        ("a.jsonl", "[1, 2]", "Line 1 of .* is not"),
        ("a.jsonl", '{"text": "a", "speech": ["x"]}', "Line 1 of .* is not"),
        ("a.jsonl", '{"text": [1], "speech": ["1"]}', "Line 1 of .* is not"),
        ("a.jsonl", '{"text": [1], "speech": [true]}', "Line 1 of .* is not"),
        ("a.jsonl", '{"text": [1.5], "speech": [1]}', "Line 1 of .* is not"),
        ("a.jsonl", "[" * 3000, "Line 1"),
        ("a.jsonl", '{"text": "a", "speech": [6561]}', "at least one speech token, all of them 0 to 6560"),
        ("a.jsonl", '{"text": "a", "speech": []}', "at least one speech token"),
        ("a.jsonl", '{"text": [256], "speech": [1]}', "at least one text id, all of them 0 to 255"),
        ("a.jsonl", '{"text": [-1], "speech": [1]}', "at least one text id"),
    ],
)
def test_files_that_do_not_serve(tmp_path, lm, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(MamTraError, match=words):
        read_utterances(tmp_path / name, lm.config, letters, count=9)


def test_own_speech_is_what_the_model_says_behind_its_prompt(lm):
    prompt = torch.tensor([9, 8]), torch.tensor([1, 2, 3])
    engine = Engine(lm)
    (found,) = own_speech(engine, [[5, 6, 7]], prompt, SETTINGS, sample=False)
    expected = list(generate(lm, [5, 6, 7], [9, 8], [1, 2, 3], lengths=SETTINGS, sampler=greedy))
    assert found == Utterance([9, 8, 5, 6, 7], [1, 2, 3, *expected]) and 6 <= len(expected) <= 12
    (bare,) = own_speech(engine, [[5, 6, 7]], None, SETTINGS)
    assert bare.text == [5, 6, 7]
    assert own_speech(engine, [[5, 6, 7]], None, SETTINGS, seed=1) != [bare]
    assert own_speech(engine, [[5, 6, 7]], None, SETTINGS) == [bare]


def test_the_opening_of_a_model_is_read_but_is_no_part_of_an_utterance(lm):
    (found,) = own_speech(Engine(lm), [[5, 6, 7]], ([9], [1, 2]), SETTINGS, opening=[3, 4], sample=False)
    expected = list(generate(lm, [5, 6, 7], [3, 4, 9], [1, 2], lengths=SETTINGS, sampler=greedy))
    assert found == Utterance([9, 5, 6, 7], [1, 2, *expected])
    (batch,) = batches([found], eos_id=30, opening=[3, 4])
    assert batch.ids[batch.kind == TEXT].tolist() == [3, 4, 9, 5, 6, 7] and int(batch.lengths[0]) == batch.kind.shape[1]
    assert batch.targets[batch.targets != IGNORE].tolist() == [1, 2, *expected, 30]


def test_batches_hold_every_utterance_once():
    utterances = [Utterance([i] * (1 + i % 3), [i] * (4 + 7 * i % 11)) for i in range(1, 30)]
    found = batches(utterances, eos_id=6561, positions=64)
    assert all(batch.kind.numel() <= 64 for batch in found) and len(found) > 3
    seen = set()
    for batch in found:
        for kind, ids, targets in zip(batch.kind, batch.ids, batch.targets, strict=True):
            speech = ids[kind == SPEECH].tolist()
            assert targets[targets != IGNORE].tolist() == [*speech, 6561]
            seen.add((tuple(ids[kind == TEXT].tolist()), tuple(speech)))
    assert seen == {(tuple(u.text), tuple(u.speech)) for u in utterances}
    assert len(batches([Utterance([1], [2] * 500)], eos_id=6561, positions=64)) == 1
