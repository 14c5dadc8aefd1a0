from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked

if TYPE_CHECKING:
    from somewhere import Unknown


@checked
def work(
    path: str | os.PathLike,
    *words: str,
    count: int = 1,
    rate: float | None = None,
    flag: bool = False,
    kind: Literal["a", "b"] = "a",
    layers: Sequence[int] | None = None,
    table: Mapping[str, float] | None = None,
    parts: Iterable[str] = (),
    call: Callable[[int], None] | None = None,
    other: Unknown | None = None,
    anything: Any = None,
    **facts: str,
) -> str:
    """What it does."""
    return f"{path} {count}"


@pytest.mark.parametrize(
    "options",
    [
        {"path": Path("x"), "count": np.int64(2), "rate": 2, "flag": np.bool_(True)},
        {"rate": np.float32(1), "layers": (1, 2), "table": {"a": 1}, "parts": iter("ab"), "call": print, "kind": "z"},
        {"other": 5, "anything": object(), "name": "n"},
    ],
)
def test_right_types_pass(options):
    assert work(**{"path": "x"} | options).startswith("x")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": b"x"}, "path has to be a string or a path, not bytes."),
        ({"path": None}, "path has to be a string or a path, not NoneType."),
        ({"count": "2"}, "count has to be a whole number, not str."),
        ({"count": 1.5}, "count has to be a whole number, not float."),
        ({"count": True}, "count has to be a whole number, not bool."),
        ({"rate": "fast"}, "rate has to be a number or None, not str."),
        ({"flag": 1}, "flag has to be true or false, not int."),
        ({"kind": 1}, "kind has to be a string, not int."),
        ({"layers": "1,2"}, "layers has to be a list of whole numbers or None, not str."),
        ({"layers": [1, "2"]}, "layers has to be a list of whole numbers or None, not one with str in it."),
        ({"table": {"a": "b"}}, "table has to be a mapping or None, not dict."),
        ({"parts": "ab"}, "parts has to be an iterable of strings, not str."),
        ({"call": 5}, "call has to be a function or None, not int."),
        ({"name": 5}, "name has to be a string, not int."),
    ],
)
def test_a_wrong_type_is_one_sentence(options, sentence):
    with pytest.raises(MamTraError) as error:
        work(**{"path": "x"} | options)
    assert str(error.value) == f"work: {sentence}"


def test_each_of_several_words_is_checked():
    with pytest.raises(MamTraError, match="words has to be a string, not int"):
        work("x", "a", 5)


def test_missing_and_unknown_arguments_are_told_by_python():
    with pytest.raises(TypeError, match=r"work\(\) missing 1 required positional argument: 'path'"):
        work()


def test_name_signature_and_description_stay():
    assert work.__name__ == "work" and work.__doc__ == "What it does."
