"""CosyVoice 2's own text rules: what is normalised, and where text is divided."""

import sys

import pytest

from mamtra.text import cosyvoice_rules
from mamtra.text.cosyvoice_rules import NoNormaliser, chunks, normalise


@pytest.fixture(autouse=True)
def libraries():
    pytest.importorskip("wetext")
    pytest.importorskip("inflect")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It costs $5 on 3/4/2024.", "It costs five dollars on the fourth of march twenty twenty four."),
        (" I have 3 cats ", "I have three cats"),
        ("2024年5月1日，25.5度，50%", "二零二四年五月一日，二十五点五度，百分之五十"),
        ("面积3m²（约）。", "面积三平方米约。"),
        ("你好 hello - world、", "你好hello，world。"),
        ("<|en|> 5 cats ", "<|en|> 5 cats "),
    ],
)
def test_normalised(text, wanted):
    assert normalise(text) == wanted


def test_chunks_of_english_count_tokens():
    sentence = "Seven small ships sail south. "
    found = chunks(sentence * 7, len)
    assert "".join(found) == (sentence * 7).strip()
    assert [len(chunk) for chunk in found] == [89, 90, 30]
    assert chunks("No end mark", len) == ["No end mark."]
    assert chunks("He said “Stop.” And left; so", lambda text: 100 * len(text)) == [
        "He said “Stop.”",
        " And left;",
        " so.",
    ]
    assert chunks("Wait... what?!", lambda text: 100 * len(text)) == ["Wait.", " what?"]
    assert chunks("<|a|> " + "word. " * 90, len) == ["<|a|> " + "word. " * 90]
    assert chunks("...", len) == [] == chunks(" ", len)


def test_a_short_last_chunk_is_joined():
    assert chunks("a" * 70 + ". " + "b" * 30 + ". " + "c" * 10, len) == [
        "a" * 70 + ".",
        " " + "b" * 30 + ". " + "c" * 10 + ".",
    ]
    assert chunks("a" * 70 + ". " + "c" * 15, len) == ["a" * 70 + ". " + "c" * 15 + "."]


def test_chunks_of_chinese_count_characters():
    found = chunks("今天天气很好，" * 9 + "。" + "我们去公园" * 5 + "。", lambda _: 0)
    assert [len(chunk) for chunk in found] == [64, 26]
    assert chunks("5", lambda _: 0) == ["五."]  # the language is that of the text as written


def test_without_the_libraries_text_is_read_as_written(monkeypatch):
    for name in ("wetext", "inflect"):
        monkeypatch.setitem(sys.modules, name, None)
    for function in (cosyvoice_rules._wetext, cosyvoice_rules._number_words):
        function.cache_clear()
    with pytest.warns(NoNormaliser, match=r"pip install 'mamtra\[cosyvoice\]'"):
        assert normalise("5 cats") == "5 cats"
    for function in (cosyvoice_rules._wetext, cosyvoice_rules._number_words):
        function.cache_clear()


def test_text_that_wetext_cannot_read(monkeypatch):
    """Its parser asserts; the original stops there."""
    wetext = pytest.importorskip("wetext")

    def fail(self, text):
        raise AssertionError

    monkeypatch.setattr(wetext.Normalizer, "normalize", fail)
    cosyvoice_rules._wetext.cache_clear()
    assert normalise("odd text") == "odd text"
    cosyvoice_rules._wetext.cache_clear()
