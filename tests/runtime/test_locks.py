"""One process a directory."""

from __future__ import annotations

import pytest

from mamtra.errors import MamTraError
from mamtra.runtime.locks import directory_lock


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
