"""Whole CosyVoice 2 directories: read as they are, converted, exported back, refused in one sentence."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile
import torch

import mamtra
from mamtra.acoustic import flow_matching
from mamtra.audio.io import write_audio
from mamtra.checkpoints.cosyvoice.parts import read_flow_config
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.cosyvoice_export import export_llm
from mamtra.checkpoints.model_files import read_config, read_generation
from mamtra.engine.reference import generate
from mamtra.engine.sampling import greedy
from mamtra.engine.steps import sequence_step
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.synthesis.token2wav import tokens_to_samples
from tests.factories import reference, speech_like
from tests.foreign import FLOW, cosyvoice_directory, cosyvoice_state
from tests.tiny_onnx import write_onnx_files

SAME, HYBRID = LayerPlan.from_ratio(4, "1:0"), LayerPlan.from_ratio(4, "1:1")


@pytest.fixture
def source(tmp_path):
    return cosyvoice_directory(tmp_path / "cosy")


@pytest.fixture(autouse=True)
def no_voices_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))


def edit(source, old, new):
    path = source / "cosyvoice2.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_yaml_gives_the_sizes(source):
    settings = Settings(source / "cosyvoice2.yaml")
    assert read_flow_config(settings, 1) == FLOW
    assert settings.get("flow.decoder.estimator.static_chunk_size") == 50
    assert settings.get("__set_seed1") == [1986]


def test_directory_speaks_as_it_is(source):
    tts = mamtra.load(source)
    assert tts.voices == ["ann", "女"] and tts.sample_rate == 24000
    assert (tts.model.generation.top_p, tts.model.generation.top_k, tts.model.generation.win_size) == (0.75, 24, 10)
    audio = tts.say("hello there.", seed=3)
    assert audio.voice == "ann" and np.abs(audio.samples).max() > 0
    assert np.array_equal(audio.samples, tts.say("hello there.", voice="ann", seed=3).samples)
    assert tts.say("hello there.", voice="女", seed=3).tokens


def test_cloning_with_onnx_files(source, tmp_path):
    pytest.importorskip("onnxruntime")
    write_onnx_files(source)
    wav = reference(tmp_path / "me.wav", seconds=2.0, rate=24000)
    made = mamtra.convert(source, tmp_path / "made", HYBRID)
    voices = [mamtra.load(model).clone(wav, "hello there.") for model in (source, made)]
    for voice in voices:
        assert voice.prompt_mel.shape == (2 * len(voice.prompt_speech), 80) and 45 <= len(voice.prompt_speech) <= 50
        assert voice.embedding.shape == (16,) and int(voice.prompt_speech.max()) < 27
    assert torch.equal(voices[0].embedding, voices[1].embedding) and voices[0].info == voices[1].info
    assert mamtra.load(source).say("hello there.", voice=voices[1]).tokens
    (source / "campplus.onnx").write_bytes((source / "speech_tokenizer_v2.onnx").read_bytes())
    with pytest.raises(MamTraError, match="not CosyVoice's speaker encoder"):
        mamtra.load(source).clone(wav)


@pytest.mark.parametrize("plan", [SAME, HYBRID])
def test_conversion_is_a_whole_model(source, tmp_path, plan):
    made = mamtra.convert(source, tmp_path / "made", plan)
    tts = mamtra.load(made)
    assert tts.voices == ["ann", "speaker-2"]
    assert {"lm", "flow", "vocoder"} <= set(read_config(made)) and read_generation(made).top_p == 0.75
    record = json.loads((made / "provenance.json").read_text())
    assert set(record["sha256"]) == {"lm", "flow", "vocoder"}
    assert "flow.pt" in record["conversion"]["converted_files"] and not record["conversion"]["left_files"]
    assert (made / "speech_tokenizer.onnx").is_file() and (made / "speaker_encoder.onnx").is_file()
    direct, text = mamtra.load(source), "hello there."
    assert tts.model.text.encode(text) == direct.model.text.encode(text)
    codes = torch.arange(9)[None]
    voice = direct.voice("ann")
    args = (codes, voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
    mels = [each.model.flow.inference(*args, steps=2) for each in (tts, direct)]
    assert torch.equal(*mels)
    waves = [each.model.vocoder.inference(mels[0], noise=torch.zeros(1, 8640, 1)) for each in (tts, direct)]
    assert torch.equal(*waves)
    assert tts.say(text).tokens


def test_modes_give_the_lm_what_they_should(source):
    tts = mamtra.load(source)
    voice = tts.voice("ann")
    assert [len(part) for part in voice.lm_prompt] == [6, 5]
    assert [len(part) for part in tts.voice("女").lm_prompt] == [0, 0]
    ids = tts.model.text.instruction("slow.")
    assert ids[-1] == 23 and tts.model.text.instruction("slow.<|endofprompt|>") == ids
    asked = voice.instruct(ids)
    assert asked.lm_prompt[0].tolist() == ids and not len(asked.lm_prompt[1])
    assert torch.equal(asked.prompt_speech, voice.prompt_speech)
    with pytest.raises(MamTraError, match="for one text"):
        asked.save(source / "asked.safetensors")
    assert tts.say("hello there.", instruct="slow.").tokens
    with pytest.raises(MamTraError, match="instruction is empty"):
        tts.say("hello there.", instruct=" ")


def test_export_brings_every_bit_back(source, tmp_path):
    made = mamtra.convert(source, tmp_path / "made", SAME)
    found = torch.load(export_llm(made, tmp_path / "llm.pt"), weights_only=True)
    wanted = {name: value for name, value in cosyvoice_state().items() if isinstance(value, torch.Tensor)}
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    with pytest.raises(MamTraError, match="exists already"):
        export_llm(made, tmp_path / "llm.pt")
    with pytest.raises(MamTraError, match="2 Mamba layers"):
        export_llm(mamtra.convert(source, tmp_path / "hybrid", HYBRID), tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_blocks: 1", "num_blocks: 2", r"flow\.pt does not fit cosyvoice2\.yaml: \d+ missing"),
        ("base_channels: 16", "base_channels: 32", r"hift\.pt does not fit .* of another shape"),
        ("solver: 'euler'", "solver: 'midpoint'", "only 'euler' is supported"),
        ("num_heads: 2", "num_heads: many", "estimator_heads"),
        ("channels: [16]", "channels: [16, 16]", "one width is supported"),
        ("    pre_lookahead_len: 3\n", "", r"lacks flow\.pre_lookahead_len"),
        ("<token_mel_ratio>", "<no_such_thing>", "cannot be looked up"),
        ("sample_rate: 24000", "sample_rate: 22050", "only 24000 is supported"),
        ("attention_heads: 2", "attention_heads: 0", "encoder_heads: input should be greater than or equal to 1"),
        ("chunk_size: 25", "chunk_size: 0", "chunk_size: input should be greater than or equal to 1"),
        ("dropout_rate: 0.1", "dropout_rate: 2.5", "encoder_dropout"),
        ("hop_len: 4", "hop_len: 0", "istft_hop"),
        ("upsample_rates: [8, 5, 3]", "upsample_rates: [8, -5, 3]", "upsample_rates"),
        ("top_p: 0.75", "top_p: 7", "top_p: input should be less than or equal to 1"),
        ("top_k: 24", "top_k: null", None),
        ("    speech_token_size: 27", "    llm_input_size: 896\n    speech_token_size: 27", "896, but llm.pt has 32"),
    ],
)
def test_wrong_values_are_named(source, old, new, message):
    edit(source, old, new)
    with pytest.raises(MamTraError, match=message) if message else nullcontext():
        model = mamtra.load(source).model
        assert model.flow and model.vocoder and model.lm


def test_nothing_in_the_yaml_is_executed(source, tmp_path):
    edit(source, "sample_rate: 24000", f"sample_rate: 24000\nx: !!python/object/apply:os.mkdir ['{tmp_path}/ran']")
    edit(source, "[1986]", f"[!apply:os.mkdir ['{tmp_path}/ran']]")
    mamtra.load(source)
    assert not (tmp_path / "ran").exists()
    (source / "cosyvoice2.yaml").write_text("a: [")
    with pytest.raises(MamTraError, match="cannot be read as YAML"):
        mamtra.load(source)


def test_text_ids_without_a_row(source, tmp_path):
    path = source / "CosyVoice-BlankEN" / "vocab.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "b": 20}))
    for attempt in (lambda: mamtra.load(source).say("hello"), lambda: mamtra.convert(source, tmp_path / "made", SAME)):
        with pytest.raises(MamTraError, match=r"41 text tokens, but llm\.pt only 40"):
            attempt()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"embedding": torch.full((1, 16), torch.nan)}, "damaged mel or embedding of the speaker 'ann'"),
        ({"embedding": torch.ones(1, 8)}, "an embedding of 8, not 16 numbers"),
        ({"prompt_text": torch.tensor([[999]])}, "ids outside the model's tables"),
        ({"prompt_text": torch.tensor([[-3]])}, "ids outside the model's tables"),
        ({"flow_prompt_speech_token": torch.full((1, 5), 27)}, "ids outside the model's tables"),
        ({"prompt_speech_feat": torch.tensor(1.0)}, "damaged mel or embedding"),
        ({"prompt_speech_feat": torch.zeros(1, 10, 40)}, "damaged mel or embedding"),
        ({"prompt_text": "words"}, "something else than tensors"),
    ],
)
def test_speakers_that_do_not_fit(source, entry, message):
    speakers = torch.load(source / "spk2info.pt", weights_only=True)
    speakers["ann"].update(entry)
    torch.save(speakers, source / "spk2info.pt")
    tts = mamtra.load(source)
    for attempt in (lambda: tts.say("hello there."), lambda: tts.stream("hello there.")):
        with pytest.raises(MamTraError, match=message):
            attempt()


def test_prompts_are_cut_to_the_shorter_of_codes_and_mel(source):
    speakers = torch.load(source / "spk2info.pt", weights_only=True)
    for frames, codes in ((3, 1), (7, 3), (30, 5)):
        speakers["ann"]["prompt_speech_feat"] = torch.randn(1, frames, 80)
        torch.save(speakers, source / "spk2info.pt")
        voice = mamtra.load(source).voice("ann")
        assert (len(voice.prompt_speech), len(voice.prompt_mel)) == (codes, 2 * codes)


def test_a_directory_without_preset_speakers(source):
    (source / "spk2info.pt").unlink()
    with pytest.raises(MamTraError, match=r"no voices; give a recording with --voice"):
        mamtra.load(source).say("hello there.")


def test_more_files_than_needed_are_left_alone(source, tmp_path):
    wanted = mamtra.load(source).say("hello there.", seed=3)
    for name in (
        "flow.encoder.fp32.zip",
        "flow.decoder.estimator.fp32.onnx",
        "speech_tokenizer_v2.batch.onnx",
        "vllm/x.bin",
    ):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"anything")
    assert np.array_equal(mamtra.load(source).say("hello there.", seed=3).samples, wanted.samples)
    made = mamtra.convert(source, tmp_path / "made", SAME)
    assert not list(made.rglob("*.zip")) and not list(made.rglob("x.bin"))


def test_recordings_of_any_channels_and_their_words(source, tmp_path):
    pytest.importorskip("onnxruntime")
    write_onnx_files(source)
    tts = mamtra.load(source)
    wave = speech_like(2.0, 24000)
    soundfile.write(tmp_path / "mono.wav", wave, 24000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.stack([0.5 * wave, 1.5 * wave], axis=1), 24000, subtype="FLOAT")
    mono, stereo = (tts.clone(tmp_path / name, "hello there.") for name in ("mono.wav", "stereo.wav"))
    assert torch.equal(mono.prompt_speech, stereo.prompt_speech)
    assert torch.allclose(mono.prompt_mel, stereo.prompt_mel, atol=1e-4)
    for words in ("hello there. " * 20, "hi."):
        voice = tts.clone(tmp_path / "mono.wav", words)
        assert any("too long or too short" in line for line in voice.advice)
        assert tts.say("hello there.", voice, seed=3).tokens
    with pytest.raises(MamTraError, match="nothing to say"):
        tts.clone(tmp_path / "mono.wav", " ")


def test_more_text_than_the_model_can_take(source, monkeypatch):
    tts = mamtra.load(source, like_original=False)
    assert all(len(tts.model.text.encode(text)) <= 200 for text in tts.segments("a" * 3000))
    with pytest.raises(MamTraError, match="at most 100,000 fit"):
        tts.say("a " * 60_000)
    noise = flow_matching.fixed_noise(80)
    assert noise.shape[2] == 2 * 7500
    monkeypatch.setattr(flow_matching, "fixed_noise_on", lambda *_: noise[..., :200])
    with pytest.raises(MamTraError, match=r"202 mel frames .* only 200; split the text into shorter pieces"):
        tokens_to_samples(tts.model, tts.voice("女"), [1] * 101, seed=0)


def test_names_and_forms_that_other_releases_and_trainings_have(source):
    wanted = mamtra.load(source).say("hello there.").samples
    state = torch.load(source / "llm.pt", weights_only=True)
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, source / "llm.pt")
    vocoder = torch.load(source / "hift.pt", weights_only=True)
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    for new, name in old.items():
        vocoder = {key.replace(new, name): value for key, value in vocoder.items()}
    assert any(name.endswith(".weight_g") for name in vocoder)
    torch.save(vocoder, source / "hift.pt")
    (source / "flow.pt").rename(source / "flow.cache.pt")
    settings = (source / "cosyvoice2.yaml").read_text().replace("LanguageModel", "Qwen2LM")
    (source / "cosyvoice2.yaml").unlink()
    (source / "cosyvoice.yaml").write_text(settings)
    assert np.array_equal(mamtra.load(source).say("hello there.").samples, wanted)
    made = mamtra.load(mamtra.convert(source, source.parent / "made", SAME))
    assert np.abs(made.say("hello there.").samples - wanted).max() < 1e-2  # voices keep the mel in float16


def test_the_mix_of_text_and_speech_is_that_of_the_settings(source):
    settings = (source / "cosyvoice2.yaml").read_text()

    def given(value):
        (source / "cosyvoice2.yaml").write_text(
            settings.replace("  sampling:", f"  mix_ratio: {value}\n    sampling:", 1)
        )
        return mamtra.load(source)

    tts = given("[4, 12]")
    assert tts.model.lm.config.mix_ratio == (4, 12)
    taken = []
    spoken = tts.stream((taken.append(word) or word for word in ["tom ", "met ", "his ", "aunt ", "at noon."]), "女")
    assert next(spoken).tokens and mamtra.load(
        mamtra.convert(source, source.parent / "made", SAME)
    ).model.lm.config == (tts.model.lm.config)
    for value in ("[5]", "5", "[5, x]", "[0, 15]", "[5.5, 15]", "{a: 5}", r'"\e[31m"'):
        with pytest.raises(MamTraError, match=r"llm\.mix_ratio .* two whole numbers"):
            given(value).say("hello there.")


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt", "llm.pt", "spk2info.pt"])
def test_pickles_with_code_are_refused(source, name):
    torch.save({"a": pytest.raises}, source / name)
    with pytest.raises(MamTraError, match="holds more than tensors"):
        mamtra.load(source).say("hello there.")


@pytest.mark.parametrize(
    "name",
    [
        "flow.pt",
        "hift.pt",
        "llm.pt",
        "cosyvoice2.yaml",
        *(f"CosyVoice-BlankEN/{name}" for name in ("vocab.json", "merges.txt", "config.json")),
    ],
)
def test_missing_files(source, tmp_path, name):
    (source / name).unlink()
    with pytest.raises(MamTraError, match="is missing"):
        mamtra.load(source).say("hello there.")
    if name == "cosyvoice2.yaml":  # without it the language model is converted alone
        return
    with pytest.raises(MamTraError, match="is missing"):
        mamtra.convert(source, tmp_path / "made", HYBRID)
    assert not (tmp_path / "made").exists()


def test_the_first_version_is_named(source, tmp_path):
    (source / "cosyvoice2.yaml").rename(source / "cosyvoice.yaml")
    for attempt in (lambda: mamtra.load(source), lambda: mamtra.convert(source, tmp_path / "made", SAME)):
        with pytest.raises(MamTraError, match=r"CosyVoice 1 model; .* only CosyVoice 2 and 3"):
            attempt()


def test_cloning_needs_the_onnx_files(source, tmp_path):
    tts = mamtra.load(source)
    wav = reference(tmp_path / "me.wav")
    with pytest.raises(MamTraError, match=r"cannot be read as ONNX|mamtra\[cosyvoice\]"):
        tts.clone(wav)
    (source / "speech_tokenizer_v2.onnx").unlink()
    with pytest.raises(MamTraError, match=r"speech_tokenizer_v2\.onnx is missing"):
        tts.clone(wav)
    write_audio(tmp_path / "still.wav", np.zeros(32000, np.float32), 16000)
    for file, message in (
        (reference(tmp_path / "low.wav", rate=8000), "sample rate of 8000"),
        (reference(tmp_path / "long.wav", seconds=31), "at most 30 s"),
        (tmp_path / "still.wav", "is silent"),
    ):
        with pytest.raises(MamTraError, match=message):
            tts.clone(file)


def test_original_text_to_wave(golden, agree):
    """The original's greedy run: tokens exact, waveform with silent noise within 5e-3."""
    tts = mamtra.load(golden.directory)
    g, model = golden["tts_end_to_end"], tts.model
    voice = tts.voice(next(iter(model.speakers)))
    run = generate(model.lm, g["tts_text"][0], *voice.lm_prompt, sampler=greedy, step=sequence_step(model.lm))
    codes = torch.tensor([list(run)])
    agree("speech tokens", codes[0], g["tts_tokens"])
    mel = model.flow.inference(codes, voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
    wave = model.vocoder.inference(mel, noise=torch.zeros(1, mel.shape[-1] * model.vocoder.config.hop, 1))
    agree("waveform", wave, g["tts_wav"], 5e-3)


def test_original_text_ids(golden, agree):
    front, facts = mamtra.load(golden.directory).model.text, golden.index["tokenizer"]
    assert front.vocab_size == facts["len_tokenizer"]
    for case in facts["cases"]:
        agree("text ids", front.encode(case["text"]), case["ids"])
        assert front.decode(case["ids"]) == case["decoded"]
