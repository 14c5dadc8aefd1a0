"""Subword front end: special tokens, chunks, and what is left as it is written."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.bpe import SPECIAL_TOKENS, BpeConfig, BpeFrontend, build_qwen_tokenizer
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE

# every byte by the character that stands for it in byte-level vocabularies
BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]
UNITS = [chr(b) for b in BYTES] + [chr(256 + i) for i in range(256 - len(BYTES))]


MERGES = ("Ġ t", "h e", "Ġt he", "Ċ Ċ", "Ġ Ġ", "ĠĠ Ġ", "a n")
PARTS = (
    *(
        "a",
        "an",
        "the",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "é",
        "e\u0301",
        "\u212b",
        "\u1112\u1161",
        "23",
        "'s",
        "'S",
        "!?",
    ),
    *("<|endofprompt|>", "[breath]", "<strong>", "\u00a0", "\u3000", "🙂", "ﬁ", "\u200b", "word"),
)


@pytest.fixture(scope="module")
def qwen2_and_ours(tmp_path_factory):
    """transformers' tokenizer of Qwen2 and ours, of one vocabulary."""
    transformers = pytest.importorskip("transformers")
    place = tmp_path_factory.mktemp("qwen2")
    vocabulary = {unit: i for i, unit in enumerate([*UNITS, *("".join(merge.split()) for merge in MERGES)])}
    (place / "vocab.json").write_text(json.dumps(vocabulary))
    (place / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    theirs = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in MERGES])
    theirs.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return theirs, BpeFrontend(build_qwen_tokenizer(place))


@pytest.fixture
def front(tmp_path):
    vocabulary = {unit: i for i, unit in enumerate([*UNITS, "Ġt", "he"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\nh e\n")
    return BpeFrontend(build_qwen_tokenizer(tmp_path))


def test_special_tokens_follow_the_subwords(front):
    assert front.vocab_size == 258 + 20
    for number, token in enumerate(SPECIAL_TOKENS):
        assert front.encode(token) == [258 + number]
    assert front.encode("a[breath]") == [UNITS.index("a"), 262]


def test_ids_and_back(front):
    ids = front.encode(" the")
    assert ids == [256, UNITS.index("h"), UNITS.index("e")] or ids == [256, 257]
    for text in ("a  b\n\nc 123", "naïve — 今天 🙂", " x "):
        assert front.decode(front.encode(text)) == text


def test_normalises_english_alone(front):
    assert front.normalize("It costs $5.") == "It costs five dollars."
    for text in ("<|en|>It costs $5.", "今天5元。", "Well [breath] $5."):
        assert front.normalize(text) == text
    for text in ("...", "<|en|>", " [breath] !"):
        with pytest.raises(MamTraError, match="nothing to say"):
            front.normalize(text)


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=12).map("".join) | st.text(max_size=12))
def test_ids_are_those_of_the_qwen2_tokenizer(qwen2_and_ours, text):
    """White space, line breaks, marks that compose, scripts and special tokens in any order."""
    theirs, ours = qwen2_and_ours
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


@given(st.lists(st.sampled_from([*PARTS, "今天"]), min_size=1, max_size=9).map("".join))
def test_what_is_left_as_written_keeps_its_white_space(qwen2_and_ours, text):
    theirs, ours = qwen2_and_ours
    written = f"今{text}好。"
    assert ours.normalize(written) == written
    assert ours.normalize(f"\n {written} ") == written
    for segment in ours.segments(written):
        assert list(segment.ids) == theirs.encode(segment.text, add_special_tokens=False)


def test_line_breaks_and_lists_reach_the_normaliser(front):
    assert front.normalize("To buy:\n- the egg\n- a hen\n\nThanks.") == "To buy: the egg. a hen. Thanks."
    assert front.normalize("A\t word  here") == "A word here"


def test_chunks_are_neither_long_nor_short(front):
    sentence = "Seven small ships sail south. "  # 29 bytes, about 27 ids
    chunks = front.segments(sentence * 7)
    lengths = [len(front.encode(chunk.text)) for chunk in chunks]
    assert " ".join(chunk.text for chunk in chunks) == (sentence * 7).strip()
    assert len(chunks) > 1 and all(20 <= length <= 110 for length in lengths)
    assert [chunk.pause_before for chunk in chunks] == [0.0] + [SENTENCE_PAUSE] * (len(chunks) - 1)
    assert [chunk.text for chunk in front.segments("No end mark")] == ["No end mark."]


def test_paragraphs_pauses_and_endless_sentences(front):
    first, second = front.segments("One.\n\n***\n\nTwo.")
    assert (first.text, second.text, second.pause_before) == ("One.", "Two.", PARAGRAPH_PAUSE)
    assert front.segments("One. [pause:2s] Two.")[1].pause_before == 2.0
    long = front.segments("word " * 300)
    assert all(len(front.encode(chunk.text)) <= 200 for chunk in long)
    assert sum(chunk.text.count("word") for chunk in long) == 300


def test_directory_round_trip(front, tmp_path):
    front._tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text.json").write_text(BpeConfig(most_tokens=70).model_dump_json())
    again = BpeFrontend.load(tmp_path)
    assert again.config.most_tokens == 70 and again.encode("the <strong>") == front.encode("the <strong>")
    (tmp_path / "text.json").write_text('{"kind": "bpe", "colour": 1}')
    with pytest.raises(MamTraError, match=r"text\.json does not describe"):
        BpeFrontend.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(MamTraError, match="is missing"):
        BpeFrontend.load(tmp_path)


def test_without_the_library_of_tokenizers_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MamTraError, match=r"needs tokenizers; pip install 'mamtra\[hub\]'"):
        BpeFrontend.load(tmp_path)
