import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import BaseModel, PositiveInt

from mamtra.errors import MamTraError
from mamtra.runtime.explain import in_words, memory_advice


class _Settings(BaseModel):
    every: PositiveInt


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        (lambda: _Settings(every=0), "Every: input should be greater than 0."),
        (lambda: Path("x" * 5000).stat(), "File name too long."),
        (lambda: Path("a\0b").stat(), "The name of a file cannot hold a null character."),
        (lambda: bytes(2**62), "There is not enough memory on this machine: more is needed than the "),
        (lambda: np.empty(2**58, np.uint8), "There is not enough memory on this machine: 288,"),
        (lambda: torch.empty(2**60), "There is not enough memory on this machine: 4,611,"),
    ],
)
def test_reasons_outside_of_the_package(fail, sentence):
    with pytest.raises(MamTraError) as error, in_words():
        fail()
    assert sentence in str(error.value) and str(error.value).count("\n") == 0


def test_memory_is_told_from_the_cause_too():
    with pytest.raises(MamTraError, match=r"on this GPU: 3,222 MB more are needed, and 1,073 MB are free;"), in_words():
        try:
            raise RuntimeError(
                "CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has 9.5 GiB of which 1.00 GiB is free."
            )
        except RuntimeError as error:
            raise RuntimeError("layer 3") from error
    with pytest.raises(MamTraError, match="not enough memory"), in_words():
        raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes"), ValueError("no"), KeyError("x"), BrokenPipeError(32, "pipe")]
)
def test_mistakes_of_the_program_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, in_words():
        raise error
    assert raised.value is error


def _damaged(cause: Exception) -> None:
    try:
        raise cause
    except Exception as error:
        raise MamTraError("x.safetensors is damaged; get the model again.") from error


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x"), "There are too many open files; close some"),
        (RuntimeError("I/O error: Too many open files (os error 24)"), "There are too many open files; close some"),
        (PermissionError(errno.EACCES, "Permission denied", "x.json"), "x.json: permission denied; the files belong"),
        (MemoryError(), "There is not enough memory on this machine"),
        (OSError(errno.EIO, "Input/output error"), "x.safetensors is damaged"),
        (ValueError("no header"), "x.safetensors is damaged"),
    ],
)
def test_no_file_is_blamed_for_the_machine(cause, sentence):
    with pytest.raises(MamTraError, match=sentence), in_words():
        _damaged(cause)


def test_half_of_a_character_is_no_name(tmp_path):
    with pytest.raises(MamTraError, match="half of a character"), in_words():
        (tmp_path / "a\ud800").touch()


def test_what_is_said_already_stays():
    with pytest.raises(MamTraError, match="lower batch"), in_words():
        try:
            raise MemoryError
        except MemoryError as error:
            raise MamTraError("The device ran out of memory; lower batch.tokens.") from error


def test_what_helps_is_said_where_it_is_known():
    said = r"more is needed than the [\d,]+ MB .*; lower batch\.tokens\.$"
    with pytest.raises(MamTraError, match=said), memory_advice("lower batch.tokens"):
        raise MemoryError
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("lower batch.tokens"):
        raise RuntimeError("shapes")
