"""The sentences that come with the package and lists of the user's own."""

import pytest

from mamtra.errors import MamTraError
from mamtra.evaluate.sentences import SENTENCES, read_sentences


def test_the_built_in_sentences_are_distinct_and_plain():
    found = read_sentences()
    assert len(found) == len(set(found)) == 24
    assert all(line[-1] in ".?!" and not any(c.isdigit() for c in line) for line in found)


def test_sentence_lists_that_do_not_serve(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    for name, words in (("gone.txt", "cannot be read"), ("empty.txt", "holds no sentences")):
        with pytest.raises(MamTraError, match=words):
            read_sentences(tmp_path / name)
    assert SENTENCES.is_file()
