"""Every reader is handed damaged files: each is read, or refused in one sentence.

`benchmarks/readers.py` does the same with a thousand files a reader.
"""

from __future__ import annotations

import pytest

from tests.readers.registry import READERS
from tests.readers.trials import try_reader

SEED, FILES = 0, 30


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_read_or_refused(reader, tmp_path):
    outcome = try_reader(reader, tmp_path, SEED, FILES)
    assert not outcome.faults, f"seed {SEED}, {outcome.example}"
    assert outcome.read + outcome.refused == FILES
