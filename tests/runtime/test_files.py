"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.files import (
    atomic_directory,
    atomic_file,
    check_destination,
    disk_is_full,
    hash_files,
    write_bytes,
    write_text,
)

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAILURES = [
    (FULL, MamTraError, "disk is full"),
    (RuntimeError("I/O error: No space left on device (os error 28)"), MamTraError, "disk is full"),
    (OSError(errno.EIO, "Input/output error"), MamTraError, "cannot be written: input/output error"),
    (ValueError("a fault of the program"), ValueError, "a fault of the program"),
    (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
]


@pytest.mark.parametrize("before", [None, "before"])
@pytest.mark.parametrize(("failure", "kind", "message"), FAILURES)
def test_a_failure_leaves_the_destination_as_it_was(tmp_path, failure, kind, message, before):
    file, folder = tmp_path / "file.txt", tmp_path / "folder"
    if before:
        write_text(file, before)
        with atomic_directory(folder) as partial:
            write_text(partial / "file.txt", before)
    for make, place in ((atomic_file, file), (lambda path: atomic_directory(path, replace=True), folder)):
        with pytest.raises(kind, match=message), make(place) as partial:
            (partial if partial.parent == tmp_path and make is atomic_file else partial / "x").write_text("half")
            raise failure
    assert sorted(path.name for path in tmp_path.iterdir()) == (["file.txt", "folder"] if before else [])
    if before:
        assert file.read_text() == before and (folder / "file.txt").read_text() == before
        assert [path.name for path in folder.iterdir()] == ["file.txt"]


def test_a_full_disk_while_writing_bytes(tmp_path, monkeypatch):
    def write(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(MamTraError, match=r"disk is full: .*sound.wav was not written") as caught:
        write_bytes(tmp_path / "sound.wav", b"x" * 1000)
    assert disk_is_full(caught.value) and not disk_is_full(ValueError()) and not list(tmp_path.iterdir())


def test_errors_of_other_files_are_not_taken_for_those_of_the_destination(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "copy"):
        (tmp_path / "source").read_bytes()


def test_files_are_replaced_and_links_stay_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for text in ("one", "two"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == text


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    write_bytes(tmp_path / "pipe", b"content")
    assert reader.communicate()[0] == b"content"


def test_a_directory_replaces_only_an_empty_one_unless_told(tmp_path):
    place = tmp_path / "folder"
    place.mkdir()
    with atomic_directory(place) as partial:
        (partial / "one").touch()
    with pytest.raises(MamTraError, match="cannot be written"), atomic_directory(place) as partial:
        (partial / "two").touch()
    assert [path.name for path in place.iterdir()] == ["one"]
    with atomic_directory(place, replace=True) as partial:
        (partial / "two").touch()
    assert [path.name for path in place.iterdir()] == ["two"] and list(tmp_path.iterdir()) == [place]


def test_a_replacement_that_fails_puts_the_old_directory_back(tmp_path, monkeypatch):
    place = tmp_path / "folder"
    place.mkdir()
    (place / "old").touch()
    rename, calls = os.replace, []

    def once_broken(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise FULL
        rename(source, target)

    monkeypatch.setattr(os, "replace", once_broken)
    with pytest.raises(MamTraError, match="full"), atomic_directory(place, replace=True) as partial:
        (partial / "new").touch()
    assert [path.name for path in place.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [place]


KILLED = """
import os, signal, sys
from mamtra.runtime.files import atomic_directory, atomic_file
with atomic_file(sys.argv[1] + "/file") as file, atomic_directory(sys.argv[1] + "/folder") as folder:
    file.write_text("half")
    (folder / "x").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "other", "")
    assert len(list(tmp_path.iterdir())) == 3  # of other destinations
    with atomic_file(tmp_path / "file") as mine:
        mine.touch()
        write_text(tmp_path / "file", "in between")  # a second writer leaves the partial of a living process alone
        mine.write_text("whole")
    with atomic_directory(tmp_path / "folder"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "other"]
    assert (tmp_path / "file").read_text() == "whole"


def _write_often(path: Path, letter: str) -> None:
    for _ in range(20):
        write_text(path, letter * 10_000)


def test_writers_of_one_file_at_the_same_time(tmp_path):
    path = tmp_path / "file"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(path, letter)) for letter in "abc"]
    write_text(path, "a" * 10_000)
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text()
        assert len(text) == 10_000 and len(set(text)) == 1
    assert [writer.exitcode for writer in writers] == [0, 0, 0] and list(tmp_path.iterdir()) == [path]


def test_destinations_that_are_refused(tmp_path):
    check_destination("-")
    check_destination(tmp_path / "file")
    with pytest.raises(MamTraError, match="is a folder"):
        check_destination(tmp_path)
    with pytest.raises(MamTraError, match="does not exist"):
        write_bytes(tmp_path / "missing" / "file", b"")
    with pytest.raises(MamTraError, match="cannot be written"), atomic_directory(tmp_path / "missing" / "folder"):
        pass


def test_names_as_long_as_file_systems_allow(tmp_path):
    write_text(tmp_path / ("ü" * 127), "text")
    assert len(list(tmp_path.iterdir())) == 1


def test_hash_of_files(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name * 3)
    assert hash_files(tmp_path / "a", tmp_path / "b") == hashlib.sha256(b"aaabbb").hexdigest()
