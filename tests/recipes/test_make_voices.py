import dataclasses
from pathlib import Path

import make_voices
import numpy as np
import pytest
from corpus import ShardWriter

from mamtra.synthesis.model import Model
from mamtra.text.english.phonemes import phoneme_ids
from mamtra.voices.info import check_name
from mamtra.voices.library import VoiceLibrary
from mamtra.voices.voice import Voice
from tests.factories import speech_like, tiny_model

GOOD = "həlˈO ðɛɹ."
ENTRY = """
- name: {name}
  speaker: ann
  {utterance}
  phonemes: "{phonemes}"
  gender: female
  description: "random"
  source: "a test"
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two speakers in two shards; u1 of ann is her best prompt, u4 has a pause of a second in it, u6 is noisy."""
    folder = tmp_path_factory.mktemp("corpus")
    usual = speech_like(4.0, 24000)
    paused = usual.copy()
    paused[36000:60000] = 0
    noisy = usual + np.random.default_rng(1).normal(0, 0.05, len(usual)).astype(np.float32)
    rows = [
        [
            ("u0", "bob", "books", GOOD, usual),
            ("u1", "ann", "books", GOOD, usual),
            ("u2", "ann", "books", "həlˈO?", usual),
        ],
        [
            ("u1", "bob", "books", "hˈI.", usual),
            ("u3", "ann", "books", GOOD, speech_like(6.0, 24000)),
            ("u4", "ann", "books", GOOD, paused),
            ("u5", "ann", "figures", GOOD, usual),
            ("u6", "ann", "books", GOOD, noisy),
        ],
    ]
    for number, shard in enumerate(rows):
        writer = ShardWriter(folder / str(number))
        for id_, speaker, source, phonemes, wave in shard:
            writer.add(id_, speaker, source, phonemes, wave, np.full(len(wave) // 480, 120.0))
        writer.close()
    return folder


def entry(tmp_path, name="anna", utterance="utterance: u1", phonemes=GOOD):
    path = tmp_path / "voices.yaml"
    path.write_text(ENTRY.format(name=name, utterance=utterance, phonemes=phonemes), encoding="utf-8")
    return path


def test_the_best_prompts_come_first(corpus):
    ranked = make_voices.suggest([corpus], "ann", {}, 10)
    assert [row.id for _, row, _ in ranked][:1] == ["u1"]
    assert {row.id for _, row, _ in ranked} == {"u1", "u4", "u6"}
    assert ranked[0][0] + 0.5 < ranked[1][0]
    with pytest.raises(SystemExit, match="no speaker zoe"):
        make_voices.suggest([corpus], "zoe", {}, 10)


@pytest.mark.parametrize("text", ["hello there.", "HELLO THERE.", "Hello there", "It is 5 there.", "Hello - there."])
def test_fragments_and_signs_are_no_prompts(corpus, text):
    assert (
        make_voices.suggest([corpus], "ann", {("ann", "u1"): text, ("ann", "u4"): text, ("ann", "u6"): text}, 10) == []
    )


def test_suggestions_are_printed_with_their_texts(corpus, tmp_path, capsys):
    texts = tmp_path / "metadata.tsv"
    texts.write_text("path\tvoice\ttext\nann/u1.opus\tann\tHello there.\n")
    make_voices.main(["--corpus", str(corpus), "--suggest", "ann", "--texts", str(texts), "--count", "1"])
    (line,) = capsys.readouterr().out.splitlines()
    assert "u1" in line and "4.00 s" in line and line.endswith("Hello there.")


@pytest.mark.parametrize("utterance", ["utterance: u1", "", "utterance: u4"])
def test_voices_carry_the_known_phonemes(corpus, tmp_path, utterance):
    directory = tiny_model(tmp_path / "tiny")
    listed = entry(tmp_path, utterance=utterance)
    make_voices.main(["--corpus", str(corpus), "--model", str(directory), "--list", str(listed)])
    voice, model = Voice.load(directory / "voices" / "anna.safetensors"), Model(directory)
    assert voice.prompt_text.tolist() == model.text.tokenizer.encode(GOOD)
    assert 3.0 < voice.seconds < 4.5  # pauses are shortened
    assert voice.info.voice_space == model.voice_space
    info = voice.info
    assert (info.gender, info.language, info.licence, info.source) == ("female", "en-US", "Apache-2.0", "a test")
    assert info.consent == "synthetic voice, no real person"


def test_a_wider_range_has_the_speakers_mean_pitch_as_its_middle(corpus, tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    listed = entry(tmp_path, utterance="pitch_range: 1.4")
    make_voices.main(["--corpus", str(corpus), "--model", str(directory), "--list", str(listed)])
    assert Voice.load(directory / "voices" / "anna.safetensors").pitch_range == (120.0, 1.4)


def test_voices_made_again_keep_their_tokens_where_that_is_wanted(corpus, tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    arguments = ["--corpus", str(corpus), "--model", str(directory), "--list", str(entry(tmp_path))]
    make_voices.main(arguments)
    path = directory / "voices" / "anna.safetensors"
    made = Voice.load(path)
    dataclasses.replace(made, prompt_speech=made.prompt_speech * 0 + 7, prompt_mel=made.prompt_mel * 0).save(path)
    make_voices.main([*arguments, "--keep-tokens"])
    found = Voice.load(path)
    assert set(found.prompt_speech.tolist()) == {7} and found.prompt_mel.equal(made.prompt_mel)
    short = dataclasses.replace(made, prompt_speech=made.prompt_speech[1:], prompt_mel=made.prompt_mel[2:])
    short.save(path)
    with pytest.raises(SystemExit, match="was made of a prompt of"):
        make_voices.main([*arguments, "--keep-tokens"])


def test_a_voice_that_only_the_flow_hears(corpus, tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    listed = entry(tmp_path, utterance="continued: false")
    make_voices.main(["--corpus", str(corpus), "--model", str(directory), "--list", str(listed)])
    voice = Voice.load(directory / "voices" / "anna.safetensors")
    assert abs(voice.seconds - 4.0) < 0.5
    assert [part.numel() for part in voice.lm_prompt] == [0, 0]


def test_the_sound_is_the_utterance(corpus, tmp_path):
    (wanted,) = make_voices.read_list(entry(tmp_path))
    assert np.abs(make_voices.find(wanted, [corpus]) - speech_like(4.0, 24000)).max() < 1e-3


def test_words_that_are_not_said_are_refused(corpus, tmp_path):
    for change, message in (
        ({"phonemes": "hˈI."}, "u1 says"),
        ({"phonemes": "hˈI.", "utterance": ""}, "nowhere"),
        ({"utterance": "utterance: u9"}, "nowhere in the corpus u9"),
    ):
        (wanted,) = make_voices.read_list(entry(tmp_path, **change))
        with pytest.raises(SystemExit, match=message):
            make_voices.find(wanted, [corpus])
    with pytest.raises(SystemExit, match="none of the voices eve"):
        make_voices.main(["--corpus", str(corpus), "--model", "x", "--list", str(entry(tmp_path)), "--only", "eve"])
    with pytest.raises(SystemExit, match="no finished corpus"):
        make_voices.find(wanted, [tmp_path / "nothing"])


def test_the_list_of_the_recipe():
    listed = make_voices.read_list(Path(make_voices.__file__).with_name("voices.yaml"))
    assert len({w.name for w in listed}) == len(listed) and all(check_name(w.name) for w in listed)
    for gender in ("female", "male"):
        assert sum(w.gender == gender for w in listed) >= 2
    assert all(set(w.phonemes) <= set(phoneme_ids()) and w.phonemes.endswith(".") for w in listed)
    assert all(w.licence == "Apache-2.0" and "synthetic" in w.consent for w in listed)


def test_a_name_cannot_be_taken_twice(tmp_path):
    path = entry(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") * 2, encoding="utf-8")
    with pytest.raises(SystemExit, match="twice"):
        make_voices.read_list(path)


def test_made_voices_are_on_the_library(corpus, tmp_path):
    directory = tiny_model(tmp_path / "tiny")
    make_voices.main(["--corpus", str(corpus), "--model", str(directory), "--list", str(entry(tmp_path))])
    library = VoiceLibrary(directory, home=tmp_path / "home")
    assert list(library.paths()) == ["anna", "tiny"] and library.default() == "anna"
