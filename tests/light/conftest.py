"""Prompts are kept in a folder of the test run, not in the user's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, the same for all tests."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("MAMTRA_CACHE", str(folder))
    return folder
