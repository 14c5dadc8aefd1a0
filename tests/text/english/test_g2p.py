from __future__ import annotations

from lzma import compress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.text.english.g2p import G2P
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.lexicon_file import LexiconFile
from mamtra.text.english.morphology import add_ed, add_ing, add_s
from mamtra.text.english.phonemes import ALPHABET


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("The cat.", "ðə kˈæt."),
        ("the apple", "ði ˈæpᵊl"),
        ("a dog and an owl", "ɐ dˈɔɡ ænd ɐn ˈWl"),
        ("go to eat", "ɡˌO tʊ ˈit"),
        ("go to bed", "ɡˌO tə bˈɛd"),
        ("walk in.", "wˈɔk ˈɪn."),
        ("I am. I am here.", "ˌI æm. ˌI ɐm hˈɪɹ."),
        ("Plan A", "plˈæn ˈA"),
        ("A", "ˈA"),
        ("A: a cat", "ˈA: ɐ kˈæt"),
        ("U-C-L-A", "jˌusˌiˌɛlˈA"),
        ("two D-V-Ds", "tˈu dˌivˌidˈiz"),
        ('"Yes," she said.', "“jˈɛs,” ʃi sˈɛd."),
        ("snow-covered", "snˌOkˈʌvəɹd"),
        ("He used to sing, she used it.", "hˌi jˈust tə sˈɪŋ, ʃi jˈuzd ɪt."),
    ],
)
def test_sentences(g2p: G2P, text: str, phonemes: str) -> None:
    assert g2p(text) == phonemes


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("I will read it", "ɹˈid"),
        ("She has read it", "ɹˈɛd"),
        ("They live here", "lˈɪv"),
        ("a live show", "lˈIv"),
        ("Families live in tents", "lˈɪv"),
        ("Close the door", "klˈOz"),
        ("a close friend", "klˈOs"),
        ("They record songs", "ɹəkˈɔɹd"),
        ("a record of it", "ɹˈɛkəɹd"),
        ("I object to it", "əbʤˈɛkt"),
        ("the object in it", "ˈɑbʤəkt"),
        ("Don't tear it", "tˈɛɹ"),
        ("a tear in it", "tˈɪɹ"),
        ("wait a minute", "mˈɪnət"),
        ("in minute detail", "mInˈut"),
        ("the use of it", "jˈus"),
        ("we use it", "jˈuz"),
        ("to present it", "pɹizˈɛnt"),
        ("a present for us", "pɹˈɛzᵊnt"),
        ("the wind blew", "wˈɪnd"),
        ("to wind it up", "wˈInd"),
        ("said that he", "ðæt"),
        ("I want that.", "ðˈæt"),
    ],
)
def test_heteronyms(g2p: G2P, text: str, part: str) -> None:
    assert part in g2p(text).replace(".", "").split()


def test_voicing_of_endings() -> None:
    assert [add_s(stem) for stem in ("kˈæt", "dˈɔɡ", "bˈʌs")] == ["kˈæts", "dˈɔɡz", "bˈʌsᵻz"]
    assert [add_ed(s) for s in ("wˈɔk", "plˈA", "nˈid", "wˈAt", "lˈɪft")] == [
        "wˈɔkt",
        "plˈAd",
        "nˈidᵻd",
        "wˈATᵻd",
        "lˈɪftᵻd",
    ]
    assert [add_ing(stem) for stem in ("ɹˈʌn", "wˈAt")] == ["ɹˈʌnɪŋ", "wˈATɪŋ"]


def test_endings_of_known_stems(g2p: G2P, lexicon: Lexicon) -> None:
    assert "blog" in lexicon and "blog's" not in lexicon
    assert g2p("blog's") == "blˈɑɡz"
    assert g2p("they'd've") == g2p("they'd") + "əv"


def test_compounds_and_unknown_words(g2p: G2P, lexicon: Lexicon) -> None:
    assert "snowday" not in lexicon
    assert g2p("snowday") == "snˈOdˌA"
    assert g2p("zorvik") == "[zorvik]"
    assert g2p("zorvik's").startswith("[zorvik]")
    assert g2p("XQZB") == g2p("X-Q-Z-B")


def test_lexicon_finds_every_word() -> None:
    lexicon = Lexicon(LexiconFile(compress(b"Aa\t1\na\t2\nab\t3|VERB=4\nz\t5\n")))
    assert [lexicon.readings(w) for w in ("a", "z")] == [{"DEFAULT": "2"}, {"DEFAULT": "5"}]
    assert lexicon.readings("ab") == {"DEFAULT": "3", "VERB": "4"}
    assert lexicon.readings("Ab") == {"DEFAULT": "3", "VERB": "4"}
    assert lexicon.readings("aa") == {"DEFAULT": "1"}
    assert lexicon.readings("b") is None and "zz" not in lexicon


def test_lexicon_lines_are_sorted(lexicon: Lexicon) -> None:
    words = [word.encode() for word, _ in lexicon.words()]
    assert words == sorted(words) and len(words) > 150_000
    assert all(lexicon.exact(word.decode()) for word in words[::997])


@settings(max_examples=100)
@given(text=st.text("abcdeiostnrT' -,.!?\"()—", max_size=40))
def test_output_stays_in_the_alphabet(lexicon: Lexicon, text: str) -> None:
    phonemes = G2P(lexicon, lambda word: "ə")(text)
    assert set(phonemes) <= set(ALPHABET)
