"""Files of lines."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.line_files import LineFile, json_line, read_whole_lines


def test_what_an_interruption_left_goes_with_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines.jsonl"
    assert list(read_whole_lines(path)) == []
    lines = [json_line({"a": "é"})]
    file = LineFile(path, lambda: lines)
    file.append(lines[0])
    file.append(json_line([2]))
    with path.open("ab") as broken:
        broken.write(b'\xff\n{"a": 3')
    assert list(read_whole_lines(path)) == [{"a": "é"}, [2]]
    lines += [json_line(4)]
    LineFile(path, lambda: lines).append(lines[-1])
    assert path.read_text(encoding="utf-8") == '{"a": "é"}\n4\n'


def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines", lambda: ["1\n"])
    file.append("1\n")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MamTraError, match="no space left on device; what is finished stays"):
        file.append("2\n")
