"""One process a directory, one process a file."""

import subprocess
import sys

import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text
from mamtra.runtime.locks import directory_lock, file_lock


def test_a_directory_is_held_by_one(tmp_path):
    with directory_lock(tmp_path / "run", "training"):
        with (
            pytest.raises(MamTraError, match="in use by another training"),
            directory_lock(tmp_path / "run", "training"),
        ):
            pass
        (tmp_path / "run" / "file").touch()
    with directory_lock(tmp_path / "run", "training"):
        pass
    assert (tmp_path / "run" / "file").exists()


def test_a_new_directory_that_stays_empty_is_removed(tmp_path):
    with directory_lock(tmp_path / "a" / "run", "training"):
        pass
    assert not (tmp_path / "a" / "run").exists()


def test_a_file_is_held_by_one_and_may_be_replaced_meanwhile(tmp_path):
    path = tmp_path / "scores.jsonl"
    with file_lock(path, "evaluation"):
        write_text(path, "one\n")
        with (
            pytest.raises(MamTraError, match=r"scores.jsonl is in use by another evaluation"),
            file_lock(path, "evaluation"),
        ):
            pass
        with file_lock(tmp_path / "other.jsonl", "evaluation"):
            pass
    with file_lock(path, "evaluation"):
        pass
    assert [found.name for found in tmp_path.iterdir()] == ["scores.jsonl"]


def test_processes_take_turns(tmp_path):
    """Each one reads a number and writes the next; what is refused is tried again."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom mamtra.errors import MamTraError\n"
        "from mamtra.runtime.locks import file_lock\npath, done = Path(sys.argv[1]), 0\nwhile done < 50:\n"
        "    try:\n        with file_lock(path, 'test'):\n            number = int(path.read_text())\n"
        "            time.sleep(0)\n            path.write_text(str(number + 1))\n            done += 1\n"
        "    except MamTraError:\n        time.sleep(0.0005)\n"
    )
    path = tmp_path / "number"
    path.write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert path.read_text() == "150" and len([*tmp_path.iterdir()]) == 1


def test_a_file_in_a_folder_that_is_missing(tmp_path):
    with pytest.raises(MamTraError, match="does not exist"), file_lock(tmp_path / "no" / "file", "evaluation"):
        pass
