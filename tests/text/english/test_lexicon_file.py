from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.english import lexicon_file
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.lexicon_file import LexiconFile, pack_lexicon

LINES = [f"{word:06}\tsˈW{word % 7}\n".encode() for word in range(9000)]


@settings(max_examples=50)
@given(words=st.dictionaries(st.text("abcäˈ'", min_size=1, max_size=6), st.text("kəˈæ|=", min_size=1), min_size=1))
def test_pieces_hold_every_line(words: dict[str, str]) -> None:
    lines = sorted(f"{word}\t{sounds}\n".encode() for word, sounds in words.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicon_file, "PIECE", 20)
        file = LexiconFile(pack_lexicon(lines))
    assert file.all() == b"".join(lines)
    assert all(line in file.near(line.split(b"\t")[0]).splitlines(keepends=True) for line in lines)


def test_only_what_is_sought_is_unpacked() -> None:
    file = LexiconFile(pack_lexicon(LINES))
    assert len(file.near(b"004000")) < 2 * lexicon_file.PIECE
    assert (len(file._unpacked), len(file._firsts)) == (1, 3)
    assert file.near(b"") == file.near(b"000000") and file.near(b"zz").endswith(LINES[-1])


def test_damage_is_told_when_it_is_met(tmp_path: Path) -> None:
    path, content = tmp_path / "lexicon.txt.xz", pack_lexicon(LINES)
    path.write_bytes(content[:-500] + bytes(400) + content[-100:])
    lexicon = Lexicon.load(path)
    assert lexicon.exact("000001") == {"DEFAULT": "sˈW1"}
    with pytest.raises(MamTraError, match="is damaged"):
        lexicon.exact("008999")
    path.write_bytes(content[:-1])
    with pytest.raises(MamTraError, match="its list does not fit"):
        Lexicon.load(path)
