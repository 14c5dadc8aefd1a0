"""Settings files: plain YAML, and one sentence for everything else."""

import math

import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.yaml_files import change_setting, read_settings, read_yaml


@pytest.fixture
def write(tmp_path):
    def make(text):
        (tmp_path / "a.yaml").write_text(text)
        return tmp_path / "a.yaml"

    return make


def test_scalars_are_those_of_yaml_1_2(write):
    found = read_yaml(write("a: 1:3\nb: 2e-5\nc: -.inf\nd: 2020-01-01\ne: true\nf: ~\ng: [1, .5, -3]\nh: '7'\n"))
    assert found == {
        "a": "1:3", "b": 2e-5, "c": -math.inf, "d": "2020-01-01", "e": True, "f": None, "g": [1, 0.5, -3], "h": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &x 1\nb: *x", r"aliases .* in line 2"),
        ("a: !!python/object:os.system x", r"the tag .*os\.system is not supported"),
        ("a: !new 1", "the tag !new is not supported"),
        ("a: !!binary aGk=", "is not supported"),
        ("a: !!bool maybe", "'maybe' is neither true nor false"),
        ("a: !!int x", "'x' is no number"),
        ("a: !!float x", "'x' is no number"),
        ("a: !!str [1]", "cannot be read as YAML"),
        ("a: !!timestamp x", "is not supported"),
        ("a: 1\na: 2", "the key a is there twice"),
        ("? [a]\n: 1", "a key has to be a word"),
        ("[" * 1000, "nested deeper than 32"),
        ("a: " + "9" * 5000, "too long"),
        ("a: " + "9" * 400, "too large"),
        ("a: 1e999", "the number 1e999 is too large"),
        ("a: [", "cannot be read as YAML"),
        ("a: \x00", "cannot be read as YAML"),
        ("- 1", "KEY: VALUE"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(write, text, what):
    with pytest.raises(MamTraError, match=what) as error:
        read_yaml(write(text))
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_changes(write):
    assert read_settings(write("a: {b: 1}"), ["a.c=[2e-5, x]", "d=1:11"]) == {
        "a": {"b": 1, "c": [2e-5, "x"]},
        "d": "1:11",
    }
    for change, what in (("a.b.c=1", "b holds a value"), ("a", "does not change"), ("a=*x", "aliases")):
        with pytest.raises(MamTraError, match=what):
            change_setting({"a": {"b": 1}}, change)
