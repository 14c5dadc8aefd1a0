"""JSON on disk: what is written is read, in lines that a person can read too."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.runtime.json_files import LINE, read_json, write_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=8) | st.dictionaries(st.text(max_size=9), v, max_size=8))


@settings(max_examples=25)
@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_lines(tmp_path):
    path = tmp_path / "value.json"
    short, long = {"b": [1, 2], "a": None}, [{"name": "x" * 20, "value": i} for i in range(30)]
    write_json(path, {"short": short, "long": long})
    lines = path.read_text().splitlines()
    assert '  "short": {"a": null, "b": [1, 2]}' in lines
    assert len(lines) == 30 + 5 and max(map(len, lines)) <= LINE
    write_json(path, {"long": json.loads(json.dumps(long)), "short": short})
    assert path.read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ' * 100_000, "damaged"),
        (b"[" * 100_000 + b"]" * 100_000, "damaged"),
        (b'{"a": ' + b"1" * 5000 + b"}", "damaged"),
        (b'{"a": "\xff"}', "damaged"),
        (b"", "damaged"),
        (b"[1]", "should hold a JSON object"),
    ],
)
def test_damaged_files_give_one_sentence(tmp_path, content, message):
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(MamTraError, match=message):
        read_json(tmp_path / "value.json")


def test_pipes_and_missing_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MamTraError, match="a pipe or a device"):
        read_json(tmp_path / "pipe")
    with pytest.raises(MamTraError, match=r"has no gone\.json"):
        read_json(tmp_path / "gone.json")
