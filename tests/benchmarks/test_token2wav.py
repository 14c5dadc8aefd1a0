"""All ways of the benchmark make the sound they are said to make, at sizes of a second."""

from __future__ import annotations

import json

import numpy as np
import pytest
import token2wav
import torch


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return token2wav.build(torch.device("cpu"), False, True, tmp_path_factory.mktemp("model"))


def test_hops_are_those_of_the_stream(model):
    """Streaming and from scratch cut alike, at whole chunks, and make the same mel and so nearly the same sound."""
    voice = token2wav.make_voice()
    sounds = {}
    for way in ("streaming", "from scratch"):
        work, seconds = token2wav.WAYS[way](model, voice, 2, 250)
        heard = []
        sounds[way] = work(lambda heard=heard: heard.append(1))
        assert len(heard) == 5 and seconds == 20
    for ours, theirs in zip(*sounds.values(), strict=True):
        assert ours.shape == theirs.shape == (240000,)
        # the noise is drawn in another order, but loudness follows the mel
        assert np.abs(ours).mean() == pytest.approx(np.abs(theirs).mean(), rel=0.05)


def test_lengths_differ():
    assert token2wav.varied(1, 250) == [250]
    assert token2wav.varied(5, 250) == [200, 225, 250, 275, 300]


def test_the_page_and_the_record(tmp_path):
    words = ["--tiny", "--device", "cpu", "--batches", "1,2", "--tokens", "100", "--seconds", "20"]
    token2wav.main([*words, "--precisions", "bf16", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "token2wav.json").read_text())
    assert [(row["way"], row["batch"]) for row in result["rows"]] == [
        (way, batch) for batch in (1, 2) for way in token2wav.WAYS
    ]
    assert all(row["finite"] and row["runs"] for row in result["rows"])
    scratch, stream = result["rows"][:2]
    assert token2wav.ratio(result["rows"], scratch) == 1
    wanted = stream["audio_a_second"] / scratch["audio_a_second"]
    assert token2wav.ratio(result["rows"], stream) == pytest.approx(wanted)
    assert f"| {wanted:.2f} |" in (tmp_path / "token2wav.md").read_text()


def test_a_killed_run_keeps_its_rows(tmp_path, monkeypatch):
    calls = []

    def dies(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"failed": "on purpose"}

    monkeypatch.setattr(token2wav, "measure", dies)
    with pytest.raises(KeyboardInterrupt):
        token2wav.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)])
    assert len(json.loads((tmp_path / "token2wav.json").read_text())["rows"]) == 1
    assert "before 8 of 9 rows" in (tmp_path / "token2wav.md").read_text()
