import json

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from mamtra.acoustic.pitch_range import AS_IT_IS
from mamtra.errors import MamTraError
from mamtra.synthesis.advice import advise
from mamtra.synthesis.cloning import check_reference, clone_voice
from mamtra.synthesis.model import Model
from mamtra.voices.info import check_name, read_info
from mamtra.voices.library import VoiceLibrary, user_home
from mamtra.voices.voice import Voice
from tests.factories import EMBEDDING, reference, speech_like, tiny_model, tiny_voice


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def test_a_voice_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tiny_voice("anna").save(tmp_path / "anna.safetensors")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(MamTraError, match=r"anna\.safetensors cannot be read: permission denied\."):
        Voice.load(path)


def test_a_voice_survives_its_file(tmp_path):
    voice = tiny_voice("anna")
    back = Voice.load(voice.save(tmp_path / "anna.safetensors"))
    assert back.info == voice.info == read_info(tmp_path / "anna.safetensors")
    assert torch.equal(back.prompt_text, voice.prompt_text) and torch.equal(back.prompt_speech, voice.prompt_speech)
    assert torch.equal(back.embedding, voice.embedding)
    assert (back.prompt_mel - voice.prompt_mel).abs().max() < 0.01
    assert back.seconds == 0.4 and repr(back) == "<Voice 'anna': en, prompt of 0.4 s>"


def test_the_file_name_is_the_name(tmp_path):
    tiny_voice("anna").save(tmp_path / "berta.safetensors")
    assert Voice.load(tmp_path / "berta.safetensors").name == "berta"


def test_without_transcript_the_lm_gets_no_prompt():
    voice = tiny_voice()
    assert [t.numel() for t in voice.lm_prompt] == [5, 10]
    silent = Voice(voice.info, voice.prompt_text[:0], voice.prompt_speech, voice.prompt_mel, voice.embedding)
    assert [t.numel() for t in silent.lm_prompt] == [0, 0]


def test_damaged_voice_files(tmp_path):
    path = tiny_voice().save(tmp_path / "v.safetensors")
    tensors = load_file(path)
    save_file({k: t for k, t in tensors.items() if k != "embedding"}, path)
    with pytest.raises(MamTraError, match="no embedding"):
        Voice.load(path)
    save_file({**tensors, "prompt_mel": tensors["prompt_mel"][:-1].clone()}, path)
    with pytest.raises(MamTraError, match="do not fit"):
        Voice.load(path)
    for name, values in (
        ("prompt_mel", tensors["prompt_mel"][:, :79]),
        ("prompt_text", tensors["prompt_text"][None]),
        ("prompt_speech", tensors["prompt_speech"][None]),
        ("embedding", tensors["embedding"].reshape(1, -1)),
    ):
        save_file({**tensors, name: values.clone().contiguous()}, path)
        with pytest.raises(MamTraError, match="do not fit"):
            Voice.load(path)
    save_file({**tensors, "embedding": torch.full((EMBEDDING,), float("nan"))}, path)
    with pytest.raises(MamTraError, match="not numbers"):
        Voice.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(MamTraError, match="damaged"):
        Voice.load(path)
    with pytest.raises(MamTraError, match="no voice file"):
        Voice.load(tmp_path / "gone.safetensors")


def test_an_instructed_voice_stays_one_under_another_name(tmp_path):
    renamed = tiny_voice().instruct([1, 2]).renamed("x")
    assert renamed.name == "x" and renamed.instructed
    with pytest.raises(MamTraError, match="instructed"):
        renamed.save(tmp_path / "x.safetensors")


def test_equal_prompts_have_one_digest():
    voice = tiny_voice()
    assert voice.in_mode("speaker").prompt_digest == voice.in_mode("speaker").to("numpy").prompt_digest
    assert voice.prompt_digest == voice.renamed("x").prompt_digest != voice.in_mode("speaker").prompt_digest


def test_the_range_of_the_pitch_is_kept_and_tells_voices_apart(tmp_path):
    plain = tiny_voice()
    wide = plain.renamed("wide", pitch=190.3, pitch_range=1.36)
    assert plain.pitch_range == AS_IT_IS and wide.pitch_range == (190.3, 1.36)
    found = Voice.load(wide.save(tmp_path / "wide.safetensors"))
    assert found.pitch_range == (190.3, 1.36) and found.prompt_digest != plain.prompt_digest


def test_a_range_that_cannot_be_is_refused():
    with pytest.raises(MamTraError, match="pitch_range needs the pitch"):
        tiny_voice().renamed("wide", pitch_range=1.3)


@pytest.mark.parametrize("facts", [{"pitch_range": 1.3}, {"pitch": 190, "pitch_range": "nan"}, {"pitch": -1}])
def test_a_range_without_middle_or_sense_is_refused(tmp_path, facts):
    path = tiny_voice().save(tmp_path / "a.safetensors")
    save_file(load_file(path), path, {name: str(value) for name, value in facts.items()})
    with pytest.raises(MamTraError, match="damaged"):
        Voice.load(path)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "a b"])
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(MamTraError, match="cannot name a voice"):
        check_name(name)


def test_library(tmp_path):
    model, home = tmp_path / "model", tmp_path / "home"
    (model / "voices").mkdir(parents=True)
    library = VoiceLibrary(model, home)
    with pytest.raises(MamTraError, match="no voices"):
        library.default()
    tiny_voice("berta").save(model / "voices" / "berta.safetensors")
    path = library.add(tiny_voice("anna"))
    assert list(library.paths()) == ["anna", "berta"]
    assert library.default() == "berta"
    assert library.is_users("anna") and not library.is_users("berta")
    with pytest.raises(MamTraError, match="already"):
        library.add(tiny_voice("anna"))
    assert library.add(tiny_voice("anna"), replace=True) == path
    with pytest.raises(MamTraError, match="model has a voice 'berta'"):
        library.add(tiny_voice("berta"))
    with pytest.raises(MamTraError, match="voice has to be a Voice, not int"):
        library.add(5)
    with pytest.raises(MamTraError, match="came with the model"):
        library.remove("berta")
    library.remove("anna")
    with pytest.raises(MamTraError, match="no voice 'anna'; voices here: berta"):
        library.path("anna")


def test_a_model_chooses_its_default_voice(tmp_path):
    for name in ("anna", "berta"):
        (tmp_path / "voices").mkdir(exist_ok=True)
        tiny_voice(name).save(tmp_path / "voices" / f"{name}.safetensors")
    for wanted, got in (("berta", "berta"), (None, "anna"), ("gone", "anna")):
        (tmp_path / "generation_config.json").write_text(json.dumps({"voice": wanted}))
        assert VoiceLibrary(tmp_path, home=tmp_path / "home").default() == got


def test_home_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path))
    assert user_home() == tmp_path
    monkeypatch.delenv("MAMTRA_HOME")
    assert user_home().name == "mamtra"


def test_cloning_aligns_tokens_and_frames(model, tmp_path):
    voice = clone_voice(reference(tmp_path / "me.wav", 2.0, 22050), model, "Hello there.", consent="mine")
    assert voice.name == "me" and voice.info.consent == "mine" and voice.info.voice_space == model.voice_space
    assert voice.prompt_mel.shape == (2 * voice.prompt_speech.numel(), 80)
    assert abs(voice.seconds - 2.0) < 0.3
    assert voice.embedding.shape == (EMBEDDING,)
    assert voice.prompt_text.numel() > 0
    assert clone_voice(tmp_path / "me.wav", model).prompt_text.numel() == 0


def test_recordings_that_cannot_serve(tmp_path):
    cases = {
        "short.wav": (reference(tmp_path / "short.wav", 0.1), "0.1 s long"),
        "long.wav": (tmp_path / "long.wav", "600 s long"),
        "silent.wav": (tmp_path / "silent.wav", "is silent"),
        "low.wav": (reference(tmp_path / "low.wav", 3, 8000), "8000 Hz"),
    }
    soundfile.write(tmp_path / "long.wav", np.full(600 * 16000, 99, np.int16), 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(48000), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(48000, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "constant.wav", np.full(48000, 0.5, np.float32), 16000)
    cases["constant.wav"] = (tmp_path / "constant.wav", "is silent")
    cases["nan.wav"] = (tmp_path / "nan.wav", "not numbers")
    blip = np.concatenate([np.zeros(16000), speech_like(0.4), np.zeros(16000)])
    soundfile.write(tmp_path / "blip.wav", blip, 16000)
    cases["blip.wav"] = (tmp_path / "blip.wav", "not silence")
    for path, words in cases.values():
        with pytest.raises(MamTraError, match=words):
            check_reference(path)


def test_advice():
    good = speech_like(6.0)
    assert advise(good, 16000, "a" * 60) == []
    assert any("clipped" in line for line in advise(np.clip(9 * good, -1, 1), 16000, "a" * 60))
    noisy = good + np.random.default_rng(0).normal(0, 0.05, len(good))
    assert any("background" in line for line in advise(noisy, 16000, "a" * 60))
    assert any("transcript" in line.lower() for line in advise(good, 16000, None))
    assert any("too long or too short" in line for line in advise(good, 16000, "a"))
    assert any("5 to 10 s" in line for line in advise(good[:32000], 16000, "a" * 20))
