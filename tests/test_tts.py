import numpy as np
import pytest
import torch

import mamtra
from mamtra.audio.trim import EdgeTrimmer
from mamtra.errors import MamTraError
from mamtra.synthesis import sentence as synthesis
from mamtra.synthesis.retries import Retries
from mamtra.synthesis.streaming import HopSchedule
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE
from mamtra.tts import TTS, Audio, load
from mamtra.voices.library import VoiceLibrary
from tests.factories import reference, tiny_model, tiny_voice

TWO = "Good morning. How are you?"


@pytest.fixture(scope="module")
def tts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = load(tiny_model(folder / "tiny"))
    made.library = VoiceLibrary(made.model.directory, folder / "home")
    return made


def test_saying_something(tts, tmp_path):
    audio = tts.say("Good morning.")
    assert audio.sample_rate == 24000 and audio.samples.dtype == np.float32
    assert audio.voice == "tiny" and audio.seed == 0 and audio.tokens > 0
    assert 0 < audio.seconds <= audio.tokens / 25 + 0.01
    assert np.isfinite(audio.samples).all() and np.abs(audio.samples).max() <= 1
    assert audio.finish_reason in ("eos", "length") and audio.rtf > 0 and audio.ttfa_ms > 0
    assert audio.save(tmp_path / "a.flac").stat().st_size > 100
    assert audio.to_bytes("wav")[:4] == b"RIFF"


def test_a_stored_voice_needs_no_speech_tokenizer_or_speaker_encoder(tts):
    fresh = load(tts.model.directory)
    fresh.say("Hello.")
    assert set(fresh.model.loaded) == {"lm", "flow", "vocoder"}


def test_the_seed_fixes_the_sound(tts):
    one, two, other = tts.say("Hello.", seed=3), tts.say("Hello.", seed=3), tts.say("Hello.", seed=4)
    assert np.array_equal(one.samples, two.samples)
    assert not np.array_equal(one.samples, other.samples)


def test_on_a_cpu_the_seed_fixes_every_bit_for_a_number_of_threads():
    voiced, before, found = load(runtime="torch", device="cpu"), torch.get_num_threads(), {}
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            found.setdefault(threads, []).append(voiced.say("Good morning.", seed=3))
    finally:
        torch.set_num_threads(before)
    one, again, two = *found[1], *found[2]
    assert np.array_equal(one.samples, again.samples)
    assert one.tokens == two.tokens and np.abs(one.samples - two.samples).max() < 1e-3


def test_the_sound_does_not_depend_on_the_global_random_state(tts):
    torch.manual_seed(1)
    one = tts.say("Hello.")
    torch.manual_seed(2)
    assert np.array_equal(one.samples, tts.say("Hello.").samples)


def test_stream_of_whole_sentences_is_say_in_pieces(tts):
    chunks = list(tts.stream(TWO, whole_sentences=True))
    assert len(chunks) == 2
    assert np.array_equal(Audio.joined(chunks).samples, tts.say(TWO).samples)
    assert sum(chunk.tokens for chunk in chunks) == tts.say(TWO).tokens


def test_text_that_is_still_arriving(tts):
    words = [word + " " for word in TWO.split()]
    arrived = Audio.joined(list(tts.stream(iter(words), whole_sentences=True)))
    assert np.array_equal(arrived.samples, tts.say(TWO).samples)
    whole, arrived = (Audio.joined(list(tts.stream(text))) for text in (TWO, iter(words)))
    assert np.array_equal(arrived.samples, whole.samples) and arrived.tokens == whole.tokens


def test_streamed_sound_and_its_facts(tts):
    text = "This is a sentence of seven words. " * 2
    chunks = list(tts.stream(text, seed=2))
    assert len(chunks) > 2 and [bool(chunk.text) for chunk in chunks].count(True) == 2
    ends = [chunk.finish_reason for chunk in chunks]
    assert ends[0] == "" and ends[-1] in ("eos", "length") and len([end for end in ends if end]) == 2
    whole, said = Audio.joined(chunks), tts.say(text, seed=2)
    assert whole.text == said.text and whole.ttfa_ms == chunks[0].ttfa_ms
    assert abs(whole.seconds - whole.tokens / 25) < 0.3
    assert all(np.isfinite(chunk.samples).all() for chunk in chunks)


def test_the_first_chunk_comes_before_the_text_is_complete(tts):
    taken = []

    def arriving():
        for word in ["Good ", "morning. ", "How ", "are ", "you?"]:
            taken.append(word)
            yield word

    next(iter(tts.stream(arriving())))
    assert taken == ["Good ", "morning. "]


def test_a_model_that_cannot_read_on_says_so_and_waits_for_sentences(tts):
    assert not tts.interleaves
    with pytest.raises(MamTraError, match="not trained to speak while text is arriving; leave interleave out"):
        tts.stream(iter(["Hello."]), interleave=True)


def test_a_blank_line_may_come_in_two_bits(tts):
    gaps = [segment.pause_before for segment in tts.model.text.arriving(["Hello.\n", "\nHi. ", "Hi."])]
    assert gaps == [0.0, PARAGRAPH_PAUSE, SENTENCE_PAUSE]


def test_hops_are_an_option_of_the_request(tts, monkeypatch):
    monkeypatch.setattr(tts.model, "generation", tts.model.generation.model_copy(update={"min_ratio": 3.0}))
    text = "This is a sentence of seven words, this is a sentence of seven words."

    def pieces(**options):
        return [len(chunk.samples) for chunk in tts.stream(text, seed=2, **options)]

    assert len(pieces(hops=HopSchedule(first=1, hop=1, most=1))) > len(pieces()) == len(pieces(hops=HopSchedule()))
    assert len(pieces(hops=HopSchedule(first=1000))) == 1


def test_speed_changes_the_length(tts):
    def spoken(speed):
        voice = tts.voice()
        return len(synthesis.tokens_to_samples(tts.model, voice, list(range(50)), seed=0, speed=speed))

    assert spoken(1.0) == 50 * 960
    assert spoken(2.0) == 25 * 960 and spoken(0.5) == 100 * 960
    for speed in (0.4, 2.1, float("nan")):
        with pytest.raises(MamTraError, match="out of range"):
            tts.say("Hello.", speed=speed)


@pytest.mark.parametrize(
    ("text", "words"), [("", "no text"), (" \n", "no text"), ("?!... --", "nothing to say"), ("a" * 100_001, "100,001")]
)
def test_text_that_cannot_be_spoken(tts, text, words):
    with pytest.raises(MamTraError, match=words):
        tts.say(text)


@pytest.mark.parametrize("text", [None, 3, b"Hello.", ["Hello."]])
def test_what_is_no_text(tts, text):
    with pytest.raises(MamTraError, match=f"has to be a string, not {type(text).__name__}"):
        tts.say(text)
    for wrong in (None, b"Hello.", [b"Hello."]):
        with pytest.raises(MamTraError, match="strings"):
            list(tts.stream(wrong))


def test_marks_are_checked_before_anything_is_spoken(tts):
    with pytest.raises(MamTraError, match="is not a pause"):
        tts.stream("Hello. " * 100 + "[pause:soon]")


def test_streams_of_nothing(tts):
    with pytest.raises(MamTraError, match="no text"):
        list(tts.stream(iter(["", " "])))


def test_ten_thousand_words_are_cut_into_sentences(tts):
    text = "This is a sentence of seven words. " * 1430
    chunks = tts.stream(text)
    named = (chunk for chunk in chunks if chunk.text)
    first, second = next(named), next(named)
    assert first.text == second.text == "This is a sentence of seven words."
    assert len(tts.segments(text)) == 1430


def test_long_texts_keep_their_sentences_and_pauses(tts, monkeypatch):
    text = "Good morning. " * 40 + "Hello\nthere.\n\nHi. " + "Good morning. " * 40
    whole = tts.model.text.segments(text)
    monkeypatch.setattr(synthesis, "generate_tokens", lambda *_: ([1] * 10, "eos"))
    seen = []

    class Recorder(EdgeTrimmer):
        def __init__(self, rate, pause):
            seen.append(pause)
            super().__init__(rate, pause)

    monkeypatch.setattr("mamtra.synthesis.pipeline.EdgeTrimmer", Recorder)
    assert [chunk.text for chunk in tts.stream(text, whole_sentences=True)] == [segment.text for segment in whole]
    assert seen == [segment.pause_before for segment in whole]


def test_voices_by_name_file_and_object(tts, tmp_path):
    path = tiny_voice("other", tokens=8).save(tmp_path / "other.safetensors")
    assert tts.voices == ["tiny"]
    assert tts.voice("tiny").name == tts.voice().name == "tiny"
    assert tts.voice(path).name == "other"
    assert tts.voice(tts.voice("tiny")) is tts.voice("tiny")
    for voice, words in [
        ("nobody", "no voice 'nobody'; voices here: tiny"),
        (tmp_path / "gone.wav", "no sound file"),
        (tmp_path / "gone.safetensors", "no voice file"),
    ]:
        with pytest.raises(MamTraError, match=words):
            tts.voice(voice)
    with pytest.raises(MamTraError, match="transcript goes with a recording"):
        tts.voice("tiny", "words")


def test_voices_of_other_models_are_refused(tts):
    with pytest.raises(MamTraError, match="made for another model"):
        tts.say("Hello.", tiny_voice(space="elsewhere"))


def test_cloned_voices_speak(tts, tmp_path):
    path = reference(tmp_path / "me.wav", 1.5)
    voice = tts.clone(path, "Hello there.")
    assert tts.say("Hello.", voice).voice == "me"
    assert np.array_equal(tts.say("Hello.", path, voice_text="Hello there.").samples, tts.say("Hello.", voice).samples)


def test_a_model_may_take_over_the_sound_of_a_clone_only(tts, tmp_path, monkeypatch):
    path = reference(tmp_path / "me.wav", 1.5)
    settings = tts.model.generation.model_copy(update={"continue_clones": False})
    monkeypatch.setattr(tts.model, "generation", settings)
    voice = tts.clone(path, "Hello there.")
    assert voice.prompt_text.numel() == 0 and voice.prompt_speech.numel() > 0
    assert any("transcript is not used" in line for line in voice.advice)
    assert not any("transcript" in line.lower() for line in tts.clone(path).advice)


def test_a_run_without_end_is_tried_again_and_then_reported(tts, monkeypatch):
    seeds = []

    def endless(model, voice, ids, seed):
        seeds.append(seed)
        return [1, 2, 3] * 5, "length"

    monkeypatch.setattr(synthesis, "generate_tokens", endless)
    assert tts.say("Hello.").finish_reason == "length"
    assert len(set(seeds)) == Retries().attempts


def test_sound_that_is_not_a_number_is_an_error(tts, monkeypatch):
    monkeypatch.setattr(synthesis, "tokens_to_samples", lambda *_, **__: np.array([np.nan], np.float32))
    with pytest.raises(MamTraError, match="not a number"):
        tts.say("Hello.")


def test_unknown_models_and_devices(tts):
    with pytest.raises(MamTraError, match="no model 'nothing'"):
        mamtra.load("nothing")
    with pytest.raises(MamTraError, match="no device"):
        TTS.load(tts.model.directory, device="abacus")


def test_the_package_offers_its_names_lazily():
    assert mamtra.TTS is TTS and "load" in dir(mamtra)
    with pytest.raises(AttributeError):
        _ = mamtra.nonsense


def test_arguments_without_effect_are_refused(tts):
    voice = tts.voice("tiny")
    for options in (
        {"voice": voice, "voice_text": "words"},
        {"whole_sentences": True, "hops": HopSchedule(first=25, hop=50)},
    ):
        with pytest.raises(MamTraError, match=r"goes with a recording|leave them out"):
            tts.stream("Hello.", **options)


@pytest.mark.parametrize(
    ("voice", "words"),
    [
        (".", "is a folder"),
        ("/dev/zero", "is a device"),
        ("x" * 5000, "too long"),
        ("a\0b", "no voice|null character"),
        ("", "no voice"),
    ],
)
def test_what_is_no_voice(tts, voice, words):
    with pytest.raises(MamTraError, match=words):
        tts.say("Hello.", voice)


@pytest.mark.parametrize(
    ("path", "fmt", "words"),
    [("", None, "is empty"), ("a\0b.wav", None, "null character"), ("x" * 5000 + ".wav", None, "too long"),
     ("b.wav", "mp3", "does not go with"), ("/dev/full", "wav", "disk is full"), (".", None, "names no sound format")],
)  # fmt: skip
def test_where_no_audio_can_be_saved(tts, path, fmt, words):
    with pytest.raises(MamTraError, match=words):
        tts.say("Hello.").save(path, fmt)


def test_a_voice_has_known_facts_only(tts, tmp_path):
    reference(tmp_path / "me.wav", 1.5)
    with pytest.raises(MamTraError, match="A voice has no 'nam'; it has name"):
        tts.clone(tmp_path / "me.wav", nam="me")
