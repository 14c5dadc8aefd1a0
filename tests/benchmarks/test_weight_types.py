"""Fewer bits cost something, and bfloat16 the least; what was measured is kept."""

import argparse
from functools import partial

import paired_scores
import pytest
import torch
import weight_types
import weight_words
from weight_logits import round_states

from tests.factories import tiny_model

CIRCUMSTANCES = {
    "command": "c", "commit": "", "hardware": {"cpu": "", "cores": 1, "threads": 1, "system": ""}, "versions": {},
}  # fmt: skip


@pytest.fixture
def args(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_types.torch, "set_num_threads", lambda _: None)
    sentences = tmp_path / "set.tsv"
    sentences.write_text("id\ttext\tspoken\na\tHello.\thello\nb\tGood morning.\tgood morning\n")
    return argparse.Namespace(
        model=str(tiny_model(tmp_path / "tiny")), set=sentences, work=tmp_path / "work", whisper="w", sentences=2, seconds=1000,
        threads=1,
    )  # fmt: skip


def test_every_type_is_compared_with_full_precision(args, monkeypatch):
    monkeypatch.setattr(weight_types, "random_lm", partial(weight_types.random_lm, tiny=True))
    *_, found = weight_types.measure(args)
    for part in ("forced", "large"):
        rows = {row["name"]: row for row in found[part]["weights"]}
        assert rows["float32"]["logit_error"] == 0 < rows["bfloat16"]["logit_error"] < rows["int8"]["logit_error"]
        assert rows["int8"]["logit_error"] < rows["fp8"]["logit_error"] < 0.2
        rows = {row["name"]: row for row in found[part]["states"]}
        assert rows["float32"]["logit_error"] == 0 < rows["bfloat16"]["logit_error"] < rows["int8"]["logit_error"]
    assert "| fp8 weights |" in weight_types.render({**found, **CIRCUMSTANCES})


def test_words_are_kept(args, judges, monkeypatch):
    monkeypatch.setattr(paired_scores, "REFERENCE", "Hello.")
    given = {
        "development": [args.set],
        "held_out": [],
        "run": args.work,
        "device": "cpu",
        "speaker_device": "cpu",
        "encoder": None,
        "fast": False,
        "limit": None,
        "rows": 2,
        "minutes": 9,
    }
    words = argparse.Namespace(**vars(args), **given)
    *_, found = weight_words.measure(words)
    [of_set] = found["results"].values()
    assert of_set["utterances"] == 2 and list(of_set["variants"]) == list(weight_words.WAYS)
    assert "| fp8 weights |" in weight_words.render({**found, **CIRCUMSTANCES})
    before = judges["DistilMOS"].calls
    *_, again = weight_words.measure(words)
    assert again == found and judges["DistilMOS"].calls == before


def test_states_are_rounded_head_by_head():
    states = (
        torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    )
    rounded = states.clone()
    round_states(rounded, "int8")
    scale = states.abs().amax((-2, -1), keepdim=True) / 127
    assert ((rounded - states).abs() <= 0.51 * scale).all() and not torch.equal(rounded, states)
    assert ((rounded / scale).round() - rounded / scale).abs().max() < 1e-3
    round_states(states, "bfloat16")
    assert torch.equal(states, states.to(torch.bfloat16).float())
