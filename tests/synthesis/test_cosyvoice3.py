"""A CosyVoice 3 directory speaks, as it is and converted; its language model and its text are CosyVoice 3's."""

import numpy as np
import pytest
import torch

import mamtra
from mamtra.audio.io import write_audio
from mamtra.checkpoints.cosyvoice.third_lm import SPECIAL_IDS
from mamtra.checkpoints.cosyvoice_export import export_llm
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.engine.interleaved import Interleaved
from mamtra.errors import MamTraError
from mamtra.models.layout import SOS, SPEECH, TASK, TEXT, prompt
from mamtra.models.plan import LayerPlan
from mamtra.synthesis.batch import Batch
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.original_stream import OriginalStream
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.retries import AS_IT_COMES, without_long_silence
from mamtra.synthesis.sentence import lm_prompt, start_run
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.text.bpe import END_OF_PROMPT
from mamtra.text.cosyvoice3_tokens import SPECIAL_TOKENS
from tests.foreign import cosyvoice_directory
from tests.foreign3 import cosyvoice3_directory
from tests.synthesis.test_streaming import feed

SAME, HYBRID = LayerPlan.from_ratio(4, "1:0"), LayerPlan.from_ratio(4, "1:1")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return cosyvoice3_directory(tmp_path_factory.mktemp("models") / "CosyVoice3")


@pytest.fixture(scope="module")
def model(source):
    return open_model(source)


@pytest.fixture
def tts(source):
    return mamtra.load(source)


def recording(path, seconds=2.0, rate=24000):
    time = np.arange(int(seconds * rate)) / rate
    write_audio(path, (0.3 * np.sin(2 * np.pi * 220 * time)).astype(np.float32), rate)
    return path


def test_marks_are_rows_of_the_speech_table(source):
    stored, state = open_language_model(source), torch.load(source / "llm.pt", weights_only=True)
    config, table = stored.config, state["speech_embedding.weight"]
    assert (config.num_speech_tokens, config.speech_vocab_size, config.fill_id) == (27, 227, 30)
    assert (config.eos_id, config.end_target, config.stop_ids) == (27, 28, tuple(range(27, 227)))
    assert torch.equal(stored.read("llm_embedding.weight"), table[[27, 29]]) and len(table) - SPECIAL_IDS == 27
    assert not stored.read("llm_decoder.bias").any()


def test_logits_are_those_of_the_original_layout(model, source):
    """Sos and task from the speech table, a head without a bias, over a backbone that CosyVoice 2 shares."""
    state, lm = torch.load(source / "llm.pt", weights_only=True), model.lm
    text, speech = [3, 1, 4], [5, 9]
    kind, ids = prompt(text, speech)
    table, words = state["speech_embedding.weight"], state["llm.model.model.embed_tokens.weight"]
    inputs = torch.cat([table[[27]], words[text], table[[29]], table[speech]])[None]
    with torch.no_grad():
        assert torch.equal(lm.embed(kind, ids), inputs)
        hidden = lm(inputs)
        assert torch.allclose(lm.logits(hidden), hidden @ state["llm_decoder.weight"].T, atol=1e-5)


def test_it_speaks_in_every_mode(tts, tmp_path):
    wav = recording(tmp_path / "me.wav")
    made = [
        tts.say("hello there.", wav, voice_text="it is me."),
        tts.say("hello there.", wav),
        tts.say("hello there.", wav, instruct="speak slowly."),
        tts.say("hello there.", "ann"),
        tts.say("hello there.", "女"),
        tts.convert_voice(wav, "ann"),
    ]
    assert all(audio.sample_rate == 24000 and len(audio.samples) == audio.tokens * 960 for audio in made)
    pieces = list(tts.stream("hello there.", "ann"))
    assert len(np.concatenate([piece.samples for piece in pieces])) == 960 * sum(piece.tokens for piece in pieces)


def test_a_voice_is_encoded_by_the_third_tokenizer_and_up_to_12_khz(model, tts, tmp_path):
    voice = tts.clone(recording(tmp_path / "me.wav"), "it is me.")
    assert voice.info.voice_space == "cosyvoice3" and model.mel_high == 12000
    other = mamtra.load(cosyvoice_directory(tmp_path / "CosyVoice2"))
    with pytest.raises(MamTraError, match="made for another model"):
        other.voice(voice)


def test_what_the_model_reads_first(model, tts):
    front, voice = model.text, tts.voice("ann")
    opening, text = front.opening, voice.prompt_text.tolist()
    assert front.decode(opening) == "" or opening[-1] == front.encode(END_OF_PROMPT)[0]
    assert lm_prompt(model, voice, [1, 2]) == (opening, text, voice.prompt_speech.tolist())
    assert lm_prompt(model, voice, [1, opening[-1], 2]) == ([], text, voice.prompt_speech.tolist())
    said = voice.instruct(front.instruction("speak slowly."))
    assert lm_prompt(model, said, [1]) == (front.instruction("speak slowly."), [], [])
    assert front.instruction("speak slowly.") == front.encode(
        f"You are a helpful assistant. speak slowly.{END_OF_PROMPT}"
    )
    assert front.instruction(f"speak.{END_OF_PROMPT}") == front.encode(f"speak.{END_OF_PROMPT}")


def test_arriving_text_follows_the_opening():
    layout = Interleaved([], [], opening=[7, 8])
    layout.push(range(4))
    assert layout.take(0) is None
    layout.push([4])
    assert layout.take(0).inputs == [(SOS, SOS), *((TEXT, i) for i in (7, 8, 0, 1, 2, 3, 4))]
    prompted = Interleaved([1, 2], list(range(15)), opening=[7, 8])
    prompted.push([3, 4, 5, 6])
    assert prompted.take(0).inputs == [
        (SOS, SOS),
        *((TEXT, i) for i in (7, 8, 1, 2, 3, 4, 5)),
        *((SPEECH, i) for i in range(15)),
    ]
    ended = Interleaved([], [], opening=[7])
    ended.push([1])
    ended.end()
    assert ended.take(0).inputs == [(SOS, SOS), (TEXT, 7), (TEXT, 1), (TASK, TASK)]


@pytest.mark.parametrize("voice", ["ann", "女", "recording"])
def test_text_that_arrives_while_speaking(tts, tmp_path, voice):
    words, taken = ["tom", "met", "his", "aunt", "at", "the", "old", "mill.", "she", "had", "a", "full", "glass."], []
    said = tts.clone(recording(tmp_path / "me.wav"), "it is me.") if voice == "recording" else tts.voice(voice)

    def arriving():
        for word in words:
            taken.append(word)
            yield word + " "

    stream = tts.stream(arriving(), said, seed=1)
    first = next(stream)
    assert len(first.samples) and len(taken) < len(words)
    chunks = [first, *stream]
    assert taken == words and "".join(chunk.text for chunk in chunks) == "".join(word + " " for word in words)
    ids = tts.model.text.encode(" ".join(words) + " ")
    tokens = start_run(tts.model, said, iter(ids), seed=1).result()
    whole = np.concatenate([chunk.samples for chunk in chunks])
    assert np.isfinite(whole).all() and len(whole) == 960 * sum(chunk.tokens for chunk in chunks)
    assert len(tokens) == sum(chunk.tokens for chunk in chunks)
    again = np.concatenate([chunk.samples for chunk in tts.stream(iter([word + " " for word in words]), said, seed=1)])
    assert np.array_equal(again, whole)


def test_the_other_language_model_of_the_release(source, tmp_path):
    """llm.rl.pt is read where there is no llm.pt."""
    other = cosyvoice3_directory(tmp_path / "CosyVoice3-RL", seed=1)
    (other / "llm.pt").rename(other / "llm.rl.pt")
    stored = open_language_model(other)
    assert stored.source.path.name == "llm.rl.pt" and "llm.rl.pt" not in stored.not_copied
    tts, tokens = mamtra.load(other), [1, 2, 3]
    kind, ids = prompt([3, 1, 4], tokens)
    with torch.no_grad():
        lm = tts.model.lm
        assert not torch.equal(lm.embed(kind, ids), open_model(source).lm.embed(kind, ids))
    mamtra.convert(other, tmp_path / "same", SAME)
    export_llm(tmp_path / "same", tmp_path / "llm.pt")
    ours, theirs = (torch.load(path, weights_only=True) for path in (tmp_path / "llm.pt", other / "llm.rl.pt"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    for name in ("llm.pt", "llm.rl.pt"):
        (other / "llm.pt").write_bytes((source / "llm.pt").read_bytes()) if name == "llm.pt" else (
            other / "llm.pt"
        ).unlink()
        assert open_language_model(other).source.path.name == name


def test_settings_that_are_missing(tmp_path):
    other = cosyvoice3_directory(tmp_path / "CosyVoice3")
    (other / "cosyvoice3.yaml").unlink()
    with pytest.raises(MamTraError, match=r"no settings: cosyvoice2\.yaml or cosyvoice3\.yaml is missing"):
        mamtra.load(other)


def test_tags_are_one_id_each(model):
    front = model.text
    ids = [front.encode(token) for token in SPECIAL_TOKENS]
    assert len(SPECIAL_TOKENS) == 261 and all(len(found) == 1 for found in ids)
    assert [found[0] for found in ids] == list(range(ids[0][0], ids[0][0] + 261))
    assert len(front.encode("[j][ǐ]")) == 2 and ids[0][0] == front.encode("[mn]")[0] + 1


def test_a_row_of_silence_is_cut_to_five():
    settings = GenerationConfig(silent_tokens=(1, 2))
    tokens = [9, 1, 2, 1, 2, 1, 2, 1, 9, 1, 1, 9]
    assert list(without_long_silence(tokens, settings)) == [9, 1, 2, 1, 2, 1, 9, 1, 1, 9]
    assert list(without_long_silence(tokens, GenerationConfig())) == tokens


def test_silence_is_cut_wherever_it_is_spoken(tts, monkeypatch):
    model, voice = tts.model, tts.voice("ann")
    monkeypatch.setattr(model, "generation", model.generation.model_copy(update={"silent_tokens": tuple(range(27))}))
    ids = model.text.segments("hello there hello.")[0].ids
    seed = next(seed for seed in range(50) if len(start_run(model, voice, ids, seed).result()) > 8)
    assert tts.say("hello there hello.", "ann", seed=seed).tokens == 5
    assert sum(piece.tokens for piece in tts.stream("hello there hello.", "ann", seed=seed)) == 5
    batch = Batch.of(model)
    batch.add(Request(model, voice, seed, retries=AS_IT_COMES), model.text.segments("hello there hello."))
    ((_, found),) = batch.finished(last=True)
    assert [chunk.tokens for chunk in found] == [5]


def test_hops_of_the_original(model, tts):
    """20 tokens to the end of a chunk after a prompt of 5, then 50, each 8 frames behind; all in all the whole."""
    pieces = feed(OriginalStream(model, tts.voice("ann"), seed=0), [i % 27 for i in range(100)])
    assert [len(piece) for piece in pieces] == [480 * (2 * 45 - 8), 480 * 2 * 50, 480 * (2 * 5 + 8)]


def test_conversion_and_back(source, model, tmp_path):
    mamtra.convert(source, tmp_path / "same", SAME)
    again = open_model(tmp_path / "same")
    assert (again.voice_space, again.mel_high, again.generation) == (model.voice_space, 12000, model.generation)
    assert again.text.opening == model.text.opening
    for section in ("lm", "flow", "vocoder"):
        ours, theirs = again.part(section).state_dict(), model.part(section).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    voice = mamtra.load(source).voice("ann")
    tokens = list(range(20))
    found = tokens_to_samples(again, voice, tokens, seed=0)
    assert np.array_equal(found, tokens_to_samples(model, voice, tokens, seed=0))
    export_llm(tmp_path / "same", tmp_path / "llm.pt")
    ours, theirs = (torch.load(place / "llm.pt", weights_only=True) for place in (tmp_path, source))
    tensors = {name: value for name, value in theirs.items() if isinstance(value, torch.Tensor)}
    assert ours.keys() == tensors.keys() and all(torch.equal(ours[name], value) for name, value in tensors.items())


def test_the_other_runtime_says_that_it_cannot(source, tmp_path):
    mamtra.convert(source, tmp_path / "same", SAME)
    with pytest.raises(MamTraError, match=r"ONNX Runtime does not run .* CosyVoice 3; use the runtime torch"):
        mamtra.load(tmp_path / "same", runtime="onnx")


def test_a_hybrid_speaks(source, tmp_path):
    mamtra.convert(source, tmp_path / "hybrid", HYBRID)
    tts = mamtra.load(tmp_path / "hybrid")
    with pytest.warns(UserWarning, match="not been distilled"):
        assert len(tts.say("hello there.", "ann").samples)


def test_language_models_of_both(tmp_path):
    third, second = cosyvoice3_directory(tmp_path / "third"), cosyvoice_directory(tmp_path / "second")
    (third / "llm.pt").write_bytes((second / "llm.pt").read_bytes())
    with pytest.raises(MamTraError, match=r"llm\.pt is CosyVoice 2's, but cosyvoice3\.yaml CosyVoice 3's"):
        mamtra.load(third).say("hello there.", "ann")
