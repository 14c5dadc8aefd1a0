from hypothesis import given
from hypothesis import strategies as st

from mamtra.text.incremental import complete_sentences


@given(st.lists(st.text(alphabet="ab. !\n3?", max_size=8), max_size=12))
def test_nothing_is_lost_or_reordered(parts):
    text = "".join(parts)
    assert "".join(complete_sentences(parts)).rstrip() == text.rstrip() or not text.strip()


def test_a_sentence_comes_out_as_soon_as_the_next_word_could_begin():
    taken = []

    def arriving():
        for part in ["Hel", "lo the", "re. ", "How", " are you"]:
            taken.append(part)
            yield part

    pieces = complete_sentences(arriving())
    assert next(pieces) == "Hello there. "
    assert taken == ["Hel", "lo the", "re. "]
    assert list(pieces) == ["How are you"]


def test_numbers_and_abbreviations_do_not_end_sentences():
    text = "Dr. Smith paid 3.5 euros, e.g. for tea. Then he left. "
    assert list(complete_sentences(text)) == ["Dr. Smith paid 3.5 euros, e.g. for tea. ", "Then he left. "]


def test_white_space_is_not_a_sentence():
    assert list(complete_sentences([" ", "\n", "  "])) == []
