"""The measurements behind `mamtra rank`, on a model directory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamtra.checkpoints.native import save_model
from mamtra.conversion.ranking_table import RankingTable, complete
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking import rank, read_ranking
from mamtra.ranking.criteria import all_replaced, with_layers
from mamtra.ranking.run import RankSettings, WordErrors, ranking_job
from mamtra.runtime.locks import file_lock
from mamtra.tts import TTS
from tests.factories import tiny_config, tiny_model
from tests.foreign import cosyvoice_directory

SENTENCES = ["Hello there.", "How are you?"]
IDLE = 1


class StandIn:
    """A transcriber that keeps what it hears and always hears the same words."""

    def __init__(self, words="hello there"):
        self.about = {"asr": "transcriber"}
        self.words = words
        self.sounds: list[np.ndarray] = []

    def __call__(self, samples, sample_rate):
        assert sample_rate == 24000
        self.sounds.append(samples)
        return self.words


def word_errors(transcriber) -> WordErrors:
    return WordErrors(transcriber, str.lower, "lower case")


@pytest.fixture(scope="module")
def tts(tmp_path_factory) -> TTS:
    """Three attention layers, of which the middle one adds nothing."""
    directory = tiny_model(tmp_path_factory.mktemp("models") / "three")
    lm = SpeechLM(tiny_config("aaa"), torch.Generator().manual_seed(0)).requires_grad_(False)
    for parameter in lm.parameters():
        parameter.mul_(2)
    lm.model.layers[IDLE].self_attn.o_proj.weight.zero_()
    save_model(directory, {"lm": lm})
    return TTS.load(directory, device="cpu")


def run(tts, transcriber=None, sentences=SENTENCES, voice=None, data=None, **settings):
    header, measure = ranking_job(
        tts.model,
        RankSettings(**settings),
        data=data,
        sentences=() if data else sentences,
        voice=voice,
        word_errors=word_errors(transcriber) if transcriber else None,
    )
    table = RankingTable(header)
    list(complete(table, measure))
    return table


@pytest.mark.parametrize("settings", [{"criterion": "kl"}, {"criterion": "cosine", "part": "attention"}])
@pytest.mark.parametrize("iterative", [False, True])
def test_an_idle_layer_comes_last(tts, settings, iterative):
    table = run(tts, iterative=iterative, voice=tts.voice("tiny"), **settings)
    assert table.ranking()[-1] == IDLE and len(table.rows) == (6 if iterative else 3)
    again = run(tts, iterative=iterative, voice=tts.voice("tiny"), **settings)
    assert [row.score for row in table.rows] == [row.score for row in again.rows]


def test_headers_tell_what_decides_the_scores(tts):
    def header(voice=None, sentences=SENTENCES, **settings):
        return ranking_job(tts.model, RankSettings(**settings), voice=voice, sentences=sentences)[0]

    plain = header(criterion="cosine")
    assert plain.difference(header(criterion="cosine", replace="mamba", every=5)) == ""
    assert "seed is" in plain.difference(header(criterion="cosine", seed=1))
    assert "part is" in plain.difference(header(criterion="cosine", part="attention"))
    assert "sample is" in plain.difference(header(criterion="cosine", sample=False))
    assert "voice is" in plain.difference(header(tts.voice("tiny"), criterion="cosine"))
    assert "sha256 is" in plain.difference(header(criterion="cosine", sentences=["Hi.", "Hello."]))
    assert "replace is" in header(criterion="kl").difference(header(criterion="kl", replace="mamba"))


def test_word_errors_of_free_speech(tts):
    transcriber = StandIn()
    table = run(tts, transcriber, voice=tts.voice("tiny"), criterion="wer", seed=3)
    # three of the five words are wrong: "hello there" is transcribed instead of "how are you"
    assert [row.layer for row in table.rows] == [None, 0, 1, 2]
    assert all(row.score == pytest.approx(60.0) and (row.word_errors, row.words) == (3, 5) for row in table.rows)
    untouched, first, idle, last = (transcriber.sounds[i : i + 2] for i in range(0, 8, 2))
    assert all(np.array_equal(a, b) for a, b in zip(untouched, idle, strict=True))
    assert not np.array_equal(untouched[0], first[0]) and not np.array_equal(untouched[0], last[0])
    assert np.array_equal(untouched[0], tts.say(SENTENCES[0], "tiny", seed=3).samples)


def test_word_errors_with_layers_replaced_by_mamba(tts):
    transcriber = StandIn("hello")
    table = run(tts, transcriber, ["Hello."], voice=tts.voice("tiny"), criterion="wer", replace="mamba", iterative=True)
    assert len(table.rows) == 7 and table.ranking()[-1] == 2, "of equal layers the last one goes first"
    lm = with_layers(tts.model.lm, all_replaced(tts.model.lm, "mamba"), [2, 1])
    changed = TTS(type(tts.model)(tts.model.directory, parts={"lm": lm}))
    of_step_one = [row.layer for row in table.rows].index(1, 4)
    assert np.array_equal(transcriber.sounds[of_step_one], changed.say("Hello.", "tiny").samples)


def test_what_a_ranking_needs(tts, tmp_path):
    with pytest.raises(MamTraError, match="need a voice, a transcriber"):
        ranking_job(tts.model, RankSettings(criterion="wer"), sentences=SENTENCES)
    with pytest.raises(MamTraError, match="no calibration file"):
        ranking_job(tts.model, RankSettings(criterion="kl"), data=tmp_path / "gone.npz")
    model = type(tts.model)(tts.model.directory, parts={"lm": all_replaced(tts.model.lm, "mamba")})
    with pytest.raises(MamTraError, match="no attention left"):
        ranking_job(model, RankSettings(criterion="kl"), sentences=SENTENCES)


def test_rank_takes_a_loaded_model_and_a_published_cosyvoice_directory(tts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("hello there.\n")
    steps = []
    table = rank(tts, "cosine", sentences="words.txt", output="t.csv", progress=lambda *step: steps.append(step))
    assert sorted(table.ranking()) == [0, 1, 2] == sorted(read_ranking("t.csv")) and steps[-1] == ("", 3, 3)
    with file_lock(tmp_path / "t.csv", "ranking"), pytest.raises(MamTraError, match="in use by another ranking"):
        rank(tts, "cosine", sentences="words.txt", output="t.csv")
    table = rank(tts, "wer", sentences="words.txt", whisper=StandIn(), output="w.jsonl")
    assert sorted(table.ranking()) == [0, 1, 2]
    directory = cosyvoice_directory(tmp_path / "cosy")
    table = rank(directory, "kl", sentences="words.txt", device="cpu")
    assert table.path.name == "ranking-kl.jsonl" and len(table.ranking()) == 4
    with pytest.raises(MamTraError, match="choose one of identity, mamba"):
        rank(tts, "kl", replace="lstm")
