from __future__ import annotations

import warnings
from lzma import compress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mamtra
from mamtra.errors import MamTraError
from mamtra.text.english.characters import unread
from mamtra.text.english.lexicon import Lexicon, packaged_additions
from mamtra.text.english.lexicon_file import LexiconFile
from mamtra.text.english.phonemes import ALPHABET
from mamtra.text.english.pronunciations import parse_user_lexicon, read_user_lexicon, without_pronunciations
from mamtra.text.frontend import TextFrontend, UnreadText

ASSETS = Path(mamtra.__path__[0]) / "assets" / "mini"


@pytest.fixture
def front() -> TextFrontend:
    return TextFrontend.load(ASSETS)


def test_phonemes_in_the_text(front: TextFrontend) -> None:
    text = "Slice the [tomato](/təmˈɑtO/), [New York](/nˈu jˈɔɹk/) style."
    assert front.normalize(text) == "Slice the [tomato](/təmˈɑtO/), [New_York](/nˈu_jˈɔɹk/) style."
    assert front.phonemes(text) == "slˈIs ðə təmˈɑtO, nˈu jˈɔɹk stˈIl."
    assert front.segments(text)[0].ids == front.tokenizer.encode(front.phonemes(text))
    assert front.phonemes("[gif](/ʤˈɪf/)'s") == "ʤˈɪfs"
    assert front.phonemes("the [owl](/ˈWl/)").startswith("ði ")


def test_a_link_is_no_pronunciation(front: TextFrontend) -> None:
    assert front.normalize("See [the docs](/docs/) now.") == "See the docs now."


def test_words_alone_for_models_that_read_no_phonemes() -> None:
    assert without_pronunciations("a [cat](/kˈæt/) and [docs](/docs/)") == "a cat and [docs](/docs/)"


@pytest.mark.parametrize("text", ["[cat](/kˈ日t/)", "one [cat](/kˈ9t/) two"])
def test_symbols_that_are_no_phonemes_are_refused(front: TextFrontend, text: str) -> None:
    with pytest.raises(MamTraError, match="no phoneme"):
        front.segments(text)


def test_a_users_lexicon(tmp_path: Path, front: TextFrontend) -> None:
    path = tmp_path / "own.txt"
    path.write_text(
        "# mine\nBlorp\tblˈɔɹp\nthe\tðˈi\n\nk8s\tkˈAts\nSQL\tˌɛskjˌuˈɛl\nread\tɹˈid|VBD=ɹˈɛd", encoding="utf-8"
    )
    front.use_lexicon(path)
    assert front.phonemes("Blorp the k8s SQL.") == "blˈɔɹp ðˈi kˈAts ˌɛskjˌuˈɛl."
    assert front.phonemes("blorps") == front.phonemes("Blorps") == "blˈɔɹps"
    assert front.phonemes("I read it").split()[1] == "ɹˈɛd"
    assert TextFrontend.load(ASSETS, lexicon=path).phonemes("Blorp") == "blˈɔɹp"
    assert TextFrontend.load(ASSETS).phonemes("k8s") != "kˈAts"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat kˈæt", "Line 1 of f"),
        ("cat\tkˈæt\ndog\t", "Line 2 of f has no phonemes"),
        ("\n\ncat\tk日t", "Line 3 of f has '日'"),
        ("\tkˈæt", "Line 1 of f"),
        ("two words\tkˈæt", "Line 1 of f"),
        ("x" * 500, "Line 1 of f"),
    ],
)
def test_bad_lines_are_named(text: str, said: str) -> None:
    with pytest.raises(MamTraError, match=said) as error:
        parse_user_lexicon(text, "f")
    assert len(str(error.value)) < 220


def test_bad_lexicon_files(tmp_path: Path) -> None:
    with pytest.raises(MamTraError, match="name a file"):
        read_user_lexicon(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9\tx")
    with pytest.raises(MamTraError, match="UTF-8"):
        read_user_lexicon(tmp_path / "latin")


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_lexicon_is_read_or_refused(text: str) -> None:
    try:
        readings = parse_user_lexicon(text, "f")
    except MamTraError:
        return
    assert all(set(phonemes) <= set(ALPHABET) for tags in readings.values() for phonemes in tags.values())


def test_a_lexicon_without_a_last_newline_ends() -> None:
    lexicon = Lexicon(LexiconFile(compress(b"a\t1\nb\t2\nc\t3")))
    assert [lexicon.exact(word) for word in "abcd"] == [{"DEFAULT": "1"}, {"DEFAULT": "2"}, {"DEFAULT": "3"}, None]
    assert Lexicon(LexiconFile(compress(b""))).exact("a") is None


def test_packaged_additions_are_phonemes() -> None:
    additions = packaged_additions()
    assert len(additions) > 80
    assert all(set(phonemes) <= set(ALPHABET) for tags in additions.values() for phonemes in tags.values())


def test_nothing_is_left_out_without_a_word(front: TextFrontend) -> None:
    with pytest.warns(UnreadText, match="Привет, 日本") as caught:
        segments = front.segments("Hello Привет world. And 日本 again, Привет. 😀")
    assert len(caught) == 1 and [s.text for s in segments] == ["Hello world.", "And again."]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front.segments("Plain text, café, 5 µg, α, ½, [x](/ˈɛks/) and 😀.")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain", []),
        ("naïve café № 5 ℃ x² α→β", []),
        ("a Привет b 日本語 c Привет", ["Привет", "日本語"]),
        ("😀 ★ — “x”", []),
        ("नमस्ते", ["नमस्ते"]),
        ("∮ E", ["∮"]),
    ],
)
def test_unread(text: str, left: list[str]) -> None:
    assert unread(text) == left


def test_explain(front: TextFrontend) -> None:
    first, second = front.explain("It cost $5 日本. Done!")
    assert first.text == "It cost five dollars." and first.unread == ["日本"]
    assert first.phonemes == "ˌɪt kˈɔst fˈIv dˈɑləɹz." and second == ("Done!", "dˈʌn!", [])
    assert front.explain("日本") == [("", "", ["日本"])]


@pytest.mark.parametrize(("order", "said"), [("auto", "May sixth"), ("mdy", "May sixth"), ("dmy", "June fifth")])
def test_order_of_dates(front: TextFrontend, order: str, said: str) -> None:
    front.date_order = order
    assert front.normalize("On 05/06/2024") == f"On {said}, twenty twenty four"
    assert front.normalize("On 31/12/2024") == "On December thirty first, twenty twenty four"
