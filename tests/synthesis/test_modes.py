"""Every way to speak with a CosyVoice 2 model, and every ratio of attention to Mamba layers."""

import numpy as np
import pytest
import torch

import mamtra
from mamtra.audio.io import read_audio, write_audio
from mamtra.engine.reference import generate
from mamtra.engine.sampling import greedy
from mamtra.engine.steps import sequence_step
from mamtra.errors import MamTraError
from mamtra.models.layout import prompt
from mamtra.models.plan import LayerPlan
from mamtra.models.sampling_config import LengthConfig
from mamtra.tts import Audio
from tests.factories import reference
from tests.foreign import cosyvoice_directory
from tests.tiny_onnx import write_onnx_files

LAYERS = 12
RATIOS = {"1:0": 12, "1:1": 6, "1:2": 4, "1:3": 3, "1:5": 2, "1:8": 2, "1:11": 1, "0:1": 0}
"""Attention layers that stay of twelve."""
LONGEST = 4
"""Codes per text id."""
TEXT = "tom met his aunt at the old mill. she had a full glass."
MODES = ["zero-shot", "cross-lingual", "instruct", "preset", "preset without a prompt"]


def pairs(first):
    """Every ratio with a mode, another one each time, and every mode at 1:1."""
    found = [(ratio, MODES[(first + place) % len(MODES)]) for place, ratio in enumerate(RATIOS)]
    return [pair for pair in found if pair[0] != "1:1"] + [("1:1", mode) for mode in MODES]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return cosyvoice_directory(tmp_path_factory.mktemp("cosy") / "source", layers=LAYERS)


@pytest.fixture(scope="module", params=["1:1"])
def tts(request, source, tmp_path_factory):
    plan = LayerPlan.from_ratio(LAYERS, request.param)
    made = mamtra.convert(source, tmp_path_factory.mktemp("made") / "model", plan)
    tts = mamtra.load(made)
    kinds = list(tts.model.lm.config.layer_types)
    assert kinds.count("full_attention") == RATIOS[request.param] and len(kinds) == LAYERS
    with torch.no_grad():  # runs of known length: no end before the longest one
        tts.model.lm.llm_decoder.bias[27:] = -100
    settings = {"max_ratio": LONGEST, "min_ratio": 1.0, "flow_steps": 2}
    tts.model.generation = tts.model.generation.model_copy(update=settings)
    return tts


@pytest.fixture(scope="module")
def recording(source, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    write_onnx_files(source)
    return reference(tmp_path_factory.mktemp("sound") / "me.wav", seconds=1.5, rate=24000)


@pytest.fixture(scope="module")
def options(source, recording):
    """Voice and other options of `TTS.stream` by mode."""
    clone = mamtra.load(source).clone
    return {
        "zero-shot": {"voice": clone(recording, "hello there.")},
        "cross-lingual": {"voice": clone(recording)},
        "instruct": {"voice": clone(recording), "instruct": "slow."},
        "preset": {"voice": "ann"},
        "preset without a prompt": {"voice": "speaker-2"},
    }


@pytest.mark.parametrize(("tts", "mode"), pairs(0), indirect=["tts"], scope="module")
def test_every_mode_and_every_ratio(tts, options, mode):
    chosen = options[mode]
    chunks = list(tts.stream(TEXT, seed=1, **chosen))
    whole = Audio.joined(chunks)
    assert whole.tokens == LONGEST * sum(len(tts.model.text.encode(text)) for text in tts.segments(TEXT))
    assert whole.finish_reason == "length" and np.isfinite(whole.samples).all() and np.abs(whole.samples).max() > 0
    assert np.array_equal(whole.samples, Audio.joined(list(tts.stream(TEXT, seed=1, **chosen))).samples)

    # step by step the model says what it would in one pass over everything
    voice = tts.voice(chosen["voice"])
    voice = voice.instruct(tts.model.text.instruction("slow.")) if mode == "instruct" else voice
    wanted = {"zero-shot": (True, True), "instruct": (True, False), "preset": (True, True)}.get(mode, (False, False))
    assert tuple(len(part) > 0 for part in voice.lm_prompt) == wanted
    rows = []

    def record(logits, history, generator):
        rows.append(logits.clone())
        return greedy(logits, history)

    lm, ids = tts.model.lm, tts.model.text.encode("tom met his aunt.")
    codes = list(
        generate(
            lm,
            ids,
            *voice.lm_prompt,
            sampler=record,
            step=sequence_step(lm),
            lengths=LengthConfig(min_ratio=0, max_ratio=1),
        )
    )
    text, speech = voice.lm_prompt
    kind, ids = prompt(torch.cat((text, torch.tensor(ids))), torch.cat((speech, torch.tensor(codes[:-1]))))
    with torch.inference_mode():
        logits = lm.logits(lm(lm.embed(kind, ids)))[0, -len(codes) :]
    assert len(codes) == 17 and (logits - torch.stack(rows)).abs().max() < 2e-4


@pytest.mark.parametrize(("tts", "mode"), pairs(2), indirect=["tts"], scope="module")
def test_text_that_arrives_while_speaking(tts, options, mode):
    chosen, taken = options[mode], []

    def arriving():
        for word in TEXT.split():
            yield " " + word if taken else word
            taken.append(word)

    assert tts.interleaves
    stream = tts.stream(arriving(), seed=1, **chosen)
    first = next(stream)
    # five ids are a word here, and the flow's first hop needs at most 44 + 3 codes
    assert 0 < len(taken) <= len(TEXT.split()) and len(first.samples)
    chunks = [first, *stream]
    whole = Audio.joined(chunks)
    assert taken == TEXT.split() and "".join(chunk.text for chunk in chunks) == TEXT
    assert whole.tokens == LONGEST * len(tts.model.text.encode(TEXT)) and np.isfinite(whole.samples).all()
    again = Audio.joined(list(tts.stream(TEXT, seed=1, interleave=True, **chosen)))
    assert np.array_equal(again.samples, whole.samples)


def test_sound_comes_before_the_text_is_complete(tts):
    taken = []

    def arriving():
        for word in TEXT.split() * 3:
            taken.append(word)
            yield word + " "

    next(tts.stream(arriving(), "speaker-2"))
    assert len(taken) < 20 < len(TEXT.split() * 3)


def test_waiting_for_sentences_may_be_asked_for(tts):
    words = [word + " " for word in TEXT.split()]
    by_sentence = Audio.joined(list(tts.stream(iter(words), "ann", interleave=False, seed=2)))
    chunks = list(tts.stream(iter(words), "ann", whole_sentences=True, seed=2))
    assert len(by_sentence.samples) and [chunk.text for chunk in chunks] == TEXT.replace(". s", ".|s").split("|")
    with pytest.raises(MamTraError, match="leave out one"):
        tts.stream(iter(words), "ann", whole_sentences=True, interleave=True)


def test_less_of_a_voice(tts, source):
    voice = tts.voice("ann")
    known = voice.in_mode("cross-lingual")
    assert [len(part) for part in known.lm_prompt] == [0, 0] and torch.equal(known.prompt_mel, voice.prompt_mel)
    alone = voice.in_mode("speaker")
    assert not len(alone.prompt_mel) and not len(alone.prompt_speech) and torch.equal(alone.embedding, voice.embedding)
    spoken = [
        tts.say("tom met her.", "ann", mode=mode).samples for mode in (None, "zero-shot", "cross-lingual", "speaker")
    ]
    assert np.array_equal(*spoken[:2]) and len({found.tobytes() for found in spoken}) == 3
    with pytest.raises(MamTraError, match="no mode 'sft'; use zero-shot, cross-lingual, speaker"):
        tts.say("tom met her.", "ann", mode="sft")


def test_a_recording_in_another_voice(source, recording):
    tts = mamtra.load(source)
    made = tts.convert_voice(recording, "ann", seed=3)
    assert made.tokens == 37 and len(made.samples) == 37 * 960 and np.abs(made.samples).max() > 0
    assert np.array_equal(made.samples, tts.convert_voice(recording, "ann", seed=3).samples)
    slow = tts.convert_voice(recording, "ann", speed=0.5)
    assert len(slow.samples) == 2 * len(made.samples)


def test_a_recording_as_the_original_takes_it(source, recording, tmp_path):
    wave, rate = read_audio(recording)
    silence = np.zeros(rate // 2, np.float32)
    write_audio(tmp_path / "padded.wav", np.concatenate([silence, wave, silence]), rate)
    write_audio(tmp_path / "short.wav", wave[: rate // 2], rate)
    like, ours = mamtra.load(source), mamtra.load(source, like_original=False)
    lengths = [len(tts.clone(tmp_path / "padded.wav").prompt_speech) for tts in (like, ours)]
    assert lengths[0] == 62 and lengths[1] < 50
    said = [tts.clone(recording, "hello there").prompt_text.tolist() for tts in (like, ours)]
    assert said[0] == like.model.text.encode("hello there") and said[1] == like.model.text.encode("hello there.")
    assert len(like.clone(tmp_path / "short.wav").prompt_speech) == 12
    with pytest.raises(MamTraError, match="a voice needs 1 s or more"):
        ours.clone(tmp_path / "short.wav")


def test_nothing_is_put_between_chunks(source):
    """Only a pause that the text asks for is, whether the text is there or arrives."""
    like, ours = mamtra.load(source), mamtra.load(source, like_original=False)
    text = "tom met his aunt at the old mill and she had a full glass of milk in her hand. " * 2
    assert len(like.segments(text)) > 1

    def silence(tts, said):
        chunks = list(tts.stream(said, "ann", seed=1))
        return sum(len(chunk.samples) for chunk in chunks) - 960 * sum(chunk.tokens for chunk in chunks)

    def arriving(said):
        return (word + " " for word in said.split())

    marked = text.replace("hand. tom", "hand. [pause:0.5s] tom")
    assert silence(like, text) == silence(like, arriving(text)) == 0
    assert silence(like, marked) == silence(like, arriving(marked)) == 12000
    assert silence(ours, text) != 0


def test_profiles(source, tmp_path):
    like, ours = mamtra.load(source), mamtra.load(source, like_original=False)
    text = "Tom met his aunt."
    assert like.segments("tom met 3.") == ["tom met three."]
    assert mamtra.load(source, text_rules="none").segments("tom met 3") == ["tom met 3"]
    assert mamtra.load(source, like_original=True, text_rules="mamtra").model.generation.like_original
    first, faded = (tts.say(text, "ann").samples[0] for tts in (like, ours))
    assert first and not faded
    made = mamtra.load(mamtra.convert(source, tmp_path / "made", LayerPlan.from_ratio(LAYERS, "1:0")))
    assert made.model.generation.like_original and made.model.text.rules == "cosyvoice2"
    with pytest.raises(MamTraError, match="no text rules 'x'; use mamtra, cosyvoice2, none"):
        mamtra.load(source, text_rules="x")
    with pytest.raises(MamTraError, match="leave the options out"):
        mamtra.load(like_original=True)
