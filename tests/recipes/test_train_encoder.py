import json
from pathlib import Path

import numpy as np
import pytest
import tokens
import torch
import train_encoder
from corpus import Corpus, ShardWriter
from digits import digit_distance
from listening import WINDOW, begin_as_whisper, first_waves
from rounding import Rounded
from speech import BULK, Speech
from trained import load_network, read_metadata

from mamtra.audio.features import whisper_log_mel
from mamtra.checkpoints.storage import pack, unpack
from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig, token_digits
from tests.factories import speech_like

SIZES = {"width": 8, "layers": 1, "heads": 1, "inner": 8, "narrow": 16, "kernel": 3, "expansion": 2, "dims": 4}
COMMON = ("--config", str(Path(train_encoder.__file__).with_name("mini.yaml")), "--device", "cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The bulk voice, a sentence in two voices with one timing, and two real speakers; two of each."""
    folder = tmp_path_factory.mktemp("corpus")
    writer = ShardWriter(folder / "0")
    for number in range(2):
        for id_, speaker, source in (
            ("b", BULK, "books"), ("p", "first", "parallel"), ("other~first/p", "other", "parallel"),
            ("r", f"ann{number}", "real"),
        ):  # fmt: skip
            id_ = id_.replace("p", f"p{number}") if "p" in id_ else f"{id_}{number}"
            writer.add(id_, speaker, source, "hˈI ðɛɹ.", speech_like(2.0, 24000), np.full(100, 120.0))
    writer.close()
    return folder


@pytest.fixture(scope="module")
def known(corpus):
    """A token set of the corpus: row i has the token i, but for the last digit."""
    path, count = corpus / "known.npz", 8
    ids = np.zeros(0, np.uint8)
    np.savez(
        path, speech=np.repeat(np.arange(count), 50), speech_len=np.full(count, 50), text=ids, text_len=np.zeros(count, int),
        speaker=np.zeros(count, int), speakers=np.array(["x"]), source=np.zeros(count, int), sources=np.array(["x"]),
    )  # fmt: skip
    return path


def test_it_begins_as_whisper(corpus, whisper):
    """With all of its units and attention to all that there is, the states are those of transformers."""
    from transformers import WhisperModel

    tokenizer = SpeechTokenizer(SpeechTokenizerConfig(**SIZES, reach=1500)).eval()
    begin_as_whisper(tokenizer, whisper, torch.from_numpy(speech_like(2.0))[None])
    log_mel = whisper_log_mel(
        torch.nn.functional.pad(torch.from_numpy(speech_like(3.0)), (0, WINDOW - 48000))[None], 80
    )
    encoder = WhisperModel.from_pretrained(whisper, dtype=torch.float32).encoder.eval()
    with torch.no_grad():
        wanted = encoder(log_mel).last_hidden_state
        found = tokenizer.states(log_mel)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_fewer_units_do_nearly_the_same(whisper):
    wave = torch.from_numpy(speech_like(2.0))[None]
    states = []
    for inner in (8, 6, 1):
        tokenizer = SpeechTokenizer(SpeechTokenizerConfig(**{**SIZES, "inner": inner})).eval()
        begin_as_whisper(tokenizer, whisper, wave)
        with torch.no_grad():
            states.append(tokenizer.states(tokenizer.log_mel(wave)))
    errors = [float((each - states[0]).std() / states[0].std()) for each in states]
    assert errors[0] == 0 < errors[1] <= errors[2] < 0.2


def test_other_voices_should_get_the_tokens_of_the_first(corpus, known):
    config = train_encoder.section(Path(COMMON[1]), "encoder", ["model=" + json.dumps(SIZES)])
    speech = Speech([corpus], "cpu", ("audio16", "f0"), config["fractions"])
    train_encoder.hold_speakers(speech)
    given = torch.from_numpy(tokens.TokenSet.load(known).speech)
    training = train_encoder.Training(speech, given, config)
    wanted = [int(given[place]) for place in training.given]
    assert wanted == [0, 1, 1, 3, 4, 5, 5, 7]
    assert training.has.tolist() == [True, True, True, False] * 2
    assert speech.group[3] == train_encoder.NEW and speech.group[7] == "real" and speech.validation[3]


def test_weights_are_rounded_as_they_are_stored():
    weight = torch.randn(40, 12, 3, generator=torch.Generator().manual_seed(0))
    stored = unpack(pack({"weight": weight}, "int4"))["weight"]
    assert (
        torch.isclose(Rounded("int4")(weight), stored, rtol=2e-3).float().mean() > 0.99
    )  # scales are rounded to float16
    assert not torch.allclose(weight, stored, rtol=2e-2)


def test_the_distance_is_least_at_the_wanted_digits():
    config = SpeechTokenizerConfig(**SIZES)
    wanted, inside = token_digits(torch.tensor([[0, 5, 80]]), config), torch.tensor([[True, True, False]])
    losses = [
        float(digit_distance(latents, wanted, inside, 3, 0.1)) for latents in (wanted, 0.8 * wanted, wanted.roll(1, -1))
    ]
    assert 0 <= losses[0] < losses[1] < losses[2]
    moved = wanted.clone()
    moved[:, 2] = 0
    assert float(digit_distance(moved, wanted, inside, 3, 0.1)) == losses[0]


def test_an_encoder_is_trained_and_known_tokens_stay(corpus, known, whisper, tmp_path, monkeypatch):
    out = tmp_path / "encoder.safetensors"
    places = ["--corpus", str(corpus), "--known", str(known), "--whisper", str(whisper), "--out", str(out)]
    settings = ["minutes=null", "steps=8", "catch_up=0.5", "tokens_per_batch=100", "model=" + json.dumps(SIZES)]
    train_encoder.main([*COMMON, *places, *settings])
    about = read_metadata(out)
    assert about["keeps_tokens"] is True and about["resumed"] is False
    assert {"bulk_phone_errors_percent", "bulk_wanted_digits_percent", "new_phone_errors_percent"} <= about[
        "measured"
    ].keys()
    first = json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])
    assert first["reader_ctc"] > 0
    assert load_network(out, "speech_tokenizer").config.num_tokens == 81

    made = tmp_path / "t.npz"
    arguments = ("--corpus", corpus, "--tokenizer", out, "--known", known, "--out", made, "--device", "cpu")
    monkeypatch.setattr("sys.argv", ["tokens.py", *map(str, arguments)])
    tokens.main()
    found = tokens.TokenSet.load(made)
    assert [set(found.codes(row).tolist()) == {row} for row in (0, 4)] == [True, True]
    assert len(found) == 8 and set(found.codes(1).tolist()) != {1}


def test_a_token_set_of_another_corpus_is_refused(corpus, known, whisper, tmp_path):
    other = tmp_path / "corpus"
    writer = ShardWriter(other / "0")
    writer.add("b", BULK, "books", "hˈI ðɛɹ.", speech_like(1.0, 24000), np.full(50, 120.0))
    writer.close()
    places = ["--corpus", str(other), "--known", str(known), "--whisper", str(whisper), "--out", str(tmp_path / "e")]
    with pytest.raises(SystemExit, match="another corpus"):
        train_encoder.main([*COMMON, *places, "model=" + json.dumps(SIZES)])


def test_waves_come_from_all_over_the_corpus(corpus):
    waves = first_waves(Corpus([corpus], "cpu", ("audio16",)), rows=4, tokens=10)
    assert waves.shape == (4, 6400) and waves.abs().max() <= 1
