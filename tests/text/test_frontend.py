from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

import mamtra
from mamtra.errors import MamTraError
from mamtra.text.english.g2p import tokenise
from mamtra.text.english.letter_to_sound import LetterToSound
from mamtra.text.english.letter_to_sound_network import LetterToSoundNetwork, save_letter_to_sound
from mamtra.text.english.phonemes import ALPHABET, close_short, phoneme_ids
from mamtra.text.english.spelt_words import best_path, letter_ids, split_sounds
from mamtra.text.frontend import TextFrontend
from mamtra.text.sentence_ends import LONGEST_SENTENCE
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE
from mamtra.text.tokenizer import PhonemeTokenizer, write_phoneme_tokenizer
from tests.text.test_incremental import cut

ASSETS = Path(mamtra.__path__[0]) / "assets" / "mini"
SHAPE = {"width": 16, "layers": 1, "heads": 2, "kernel": 3}
SOUNDS = ["k", "ə", "ˈæ", "t"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("lexicon.txt.xz", "tokenizer.json", "text.json"):
        shutil.copy(ASSETS / name, tmp_path / name)
    torch.manual_seed(3)
    network = LetterToSoundNetwork(len(SOUNDS), **SHAPE)
    save_letter_to_sound(tmp_path / "letter_to_sound.safetensors", network, SOUNDS, SHAPE)
    return tmp_path


def test_alphabet_is_fixed() -> None:
    """Models are trained with these ids; a change of order would make them speak nonsense."""
    assert len(ALPHABET) == len(set(ALPHABET)) == 114
    ids = phoneme_ids()
    assert (ids[";"], ids[" "], ids["A"], ids["ə"], ids["ˈ"], ids["ᵻ"]) == (1, 14, 22, 67, 105, 114)


def test_tokenizer_round_trip(tmp_path: Path) -> None:
    write_phoneme_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = PhonemeTokenizer.load(tmp_path / "tokenizer.json")
    ids = tokenizer.encode(ALPHABET)
    assert ids == list(range(1, 115)) and tokenizer.vocab_size == 115
    assert tokenizer.decode([0, *ids, 0]) == ALPHABET
    assert tokenizer.encode("a\n日b") == tokenizer.encode("ab")


def test_packaged_tokenizer_has_the_alphabet() -> None:
    path = ASSETS / "tokenizer.json"
    assert PhonemeTokenizer.load(path).encode(ALPHABET) == list(range(1, 115))
    assert Tokenizer.from_file(str(path)).encode(ALPHABET).ids == list(range(1, 115))


def test_packaged_tokenizer_is_what_is_written(tmp_path: Path) -> None:
    write_phoneme_tokenizer(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == (ASSETS / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    "model", [{"type": "BPE", "vocab": {"[PAD]": 0}}, {"type": "WordLevel", "vocab": {"ab": 1}}, None]
)
def test_another_tokenizer_is_refused(tmp_path: Path, model: object) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"model": model}))
    with pytest.raises(MamTraError, match="is not a tokenizer of phonemes"):
        PhonemeTokenizer.load(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("said", "ids"),
    [("ˈO", "ˈO."), ("ˈO!", "ˈO!"), ("“ˈA”", "“ˈA”."), ("ɛks", "ɛks."), ("kˈæts", "kˈæts"), ("—", "—"), ("", "")],
)
def test_an_utterance_of_few_sounds_is_closed(said: str, ids: str) -> None:
    assert close_short(said) == ids


def test_front_end(model: Path) -> None:
    front = TextFrontend.load(model)
    segments = front.segments("It costs $5. Wait! [pause:2s] Done.")
    assert [s.text for s in segments] == ["It costs five dollars.", "Wait!", "Done."]
    assert front.phonemes(segments[0].text) == "ˌɪt kˈɔsts fˈIv dˈɑləɹz."
    assert front.encode("Wait!") == [phoneme_ids()[c] for c in front.phonemes("Wait!")]
    assert front.vocab_size == 115


def test_long_text_keeps_within_the_limit(model: Path) -> None:
    front = TextFrontend.load(model)
    text = "the small brown dog ran over the green hill and " * 20
    segments = front.segments(text)
    assert len(segments) > 2
    assert all(len(front.phonemes(s.text)) <= front.config.longest_segment for s in segments)
    assert " ".join(s.text for s in segments).split() == text.split()


@pytest.mark.parametrize(
    "unit", ["the dog ran over a hill and ", "4,815 ", "A. B. C. ", "12345678901234567890", "/ ", "I see. "]
)
def test_the_work_is_linear_in_the_text(model: Path, monkeypatch, unit: str) -> None:
    front, counts = TextFrontend.load(model), []
    read, normalised = front._g2p.read, front.normalize

    def counted(said: str):
        counts[-1] += len(tokens := read(said))
        return tokens

    def measured(text: str) -> str:
        assert len(text) <= LONGEST_SENTENCE
        return normalised(text)

    monkeypatch.setattr(front._g2p, "read", counted)
    monkeypatch.setattr(front, "normalize", measured)
    for size in (1000, 2000, 4000):
        counts.append(0)
        segments = front.segments("so " + unit * (size // len(unit)))
        assert counts[-1] <= 3 * sum(len(tokenise(segment.text)) for segment in segments)
        assert max(len(segment.ids) for segment in segments) <= front.config.longest_segment


def test_a_segment_is_read_once(model: Path, monkeypatch) -> None:
    front, seen = TextFrontend.load(model), []
    read, normalised = front._g2p.read, front.normalize
    monkeypatch.setattr(front._g2p, "read", lambda said: seen.append(said) or read(said))
    monkeypatch.setattr(front, "normalize", lambda text: seen.append(text) or normalised(text))
    segments = front.segments("It costs $5. Wait!")
    assert seen == ["It costs $5.", "It costs five dollars.", "Wait!", "Wait!"]
    assert [segment.ids for segment in segments] == [front.encode("It costs $5."), front.encode("Wait!")]


def test_eight_threads_lose_nothing(model: Path) -> None:
    front = TextFrontend.load(model)
    text = " ".join(f"Dr. Smith saw {n} dogs at 5 p.m. and left. Did he? No!" for n in range(20))
    whole = front.segments(text)
    assert len(whole) == 60
    with ThreadPoolExecutor(8) as pool:
        assert all(found == whole for found in pool.map(front.segments, [text] * 16))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), max_size=20))
def test_arriving_text_gives_the_segments_of_the_whole(sizes: list[int]) -> None:
    text = 'He said: "Stop!"\n\nDr. Ames left at 5 p.m. on May 5, 2024. [pause:1s] Did she?\n* milk\n* 2 eggs\n\nNo... it was cold.'
    front = TextFrontend.load(ASSETS)
    whole = front.segments(text)
    assert list(front.arriving(cut(text, sizes))) == whole
    pauses = [0.0, PARAGRAPH_PAUSE, 1.0, SENTENCE_PAUSE, SENTENCE_PAUSE, PARAGRAPH_PAUSE]
    assert [segment.pause_before for segment in whole] == pauses


def test_words_divided_by_a_line_break(model: Path) -> None:
    front = TextFrontend.load(model)
    [segment] = front.segments("It was impor-\ntant and well-\n  known.")
    assert segment.text == "It was important and well-known."


def test_unknown_words_go_to_the_network(model: Path) -> None:
    front = TextFrontend.load(model)
    assert set(front.phonemes("Zorvikal")) <= set(ALPHABET)
    (model / "letter_to_sound.safetensors").unlink()
    assert TextFrontend.load(model).phonemes("cat") == "kˈæt"
    with pytest.raises(MamTraError, match="letter_to_sound"):
        TextFrontend.load(model).phonemes("zorvikal")


@pytest.mark.parametrize("name", ["lexicon.txt.xz", "tokenizer.json", "text.json"])
def test_damaged_and_missing_files(model: Path, name: str) -> None:
    (model / name).write_text("{")
    with pytest.raises(MamTraError, match=name):
        TextFrontend.load(model)
    (model / name).unlink()
    with pytest.raises(MamTraError, match="missing"):
        TextFrontend.load(model)


def test_unknown_options_are_refused(model: Path) -> None:
    (model / "text.json").write_text('{"kind": "phonemes", "colour": 1}')
    with pytest.raises(MamTraError, match="colour"):
        TextFrontend.load(model)


def test_sounds_and_paths() -> None:
    assert split_sounds("həlˈO") == ["h", "ə", "l", "ˈO"]
    assert letter_ids("Ab-z") == [1, 2, 26]
    assert best_path([1, 1, 0, 3, 3, 4], SOUNDS) == "kˈæt"
    assert best_path([1, 0, 1, 2], SOUNDS) == "kkˈə"
    assert best_path([3, 0, 3], SOUNDS) == "ˈæˌæ"
    assert best_path([0, 0], SOUNDS) == ""


def test_network_ignores_padding() -> None:
    torch.manual_seed(0)
    network = LetterToSoundNetwork(5, **SHAPE).eval()
    alone = network(torch.tensor([letter_ids("tone")]))
    padded = network(torch.tensor([[*letter_ids("tone"), 0, 0, 0], letter_ids("stonily")]))
    assert alone.shape == (1, 8, 6)
    torch.testing.assert_close(padded[0, :8], alone[0])
    assert alone.exp().sum(-1).allclose(torch.ones(1, 8))


def test_network_survives_saving(tmp_path: Path) -> None:
    network = LetterToSoundNetwork(len(SOUNDS), **SHAPE).half().float().eval()
    path = tmp_path / "letter_to_sound.safetensors"
    save_letter_to_sound(path, network, SOUNDS, SHAPE)
    expected = best_path(network(torch.tensor([letter_ids("kat")]))[0].argmax(-1).tolist(), SOUNDS)
    reader = LetterToSound.load(path)
    assert reader("kat") == expected
    scores = torch.from_numpy(reader.scores(letter_ids("kat"))).log_softmax(-1)
    torch.testing.assert_close(
        scores, network(torch.tensor([letter_ids("kat")]))[0], atol=0.05, rtol=0
    )  # stored as int8


def test_network_of_the_embedded_voice_reads_as_with_torch() -> None:
    reader = LetterToSound.load(ASSETS / "letter_to_sound.safetensors")
    with safe_open(ASSETS / "letter_to_sound.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["letter_to_sound"])
    network = LetterToSoundNetwork(len(about["sounds"]), **about["shape"]).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in reader._weights.items()})
    for word in ("zyzzyva", "blorptastic", "o", "qwertyuiopasdfghjklzxcvbnmqwertyuiopasdfghjklzx"):
        with torch.inference_mode():
            expected = network(torch.tensor([letter_ids(word)]))[0]
        scores = torch.from_numpy(reader.scores(letter_ids(word))).log_softmax(-1)
        torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


def test_network_learns_a_word(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LetterToSoundNetwork(len(SOUNDS), **SHAPE)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    letters = torch.tensor([letter_ids("cat")])
    target = torch.tensor([[1, 3, 4]])
    for _ in range(30):
        log_probs = network(letters).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(log_probs, target, torch.tensor([6]), torch.tensor([3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path / "letter_to_sound.safetensors"
    save_letter_to_sound(path, network, SOUNDS, SHAPE)
    assert LetterToSound.load(path)("cat") == "kˈæt"
