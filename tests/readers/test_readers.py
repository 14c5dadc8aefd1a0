"""Every reader is handed damaged files: each is read, or refused in one sentence.

`benchmarks/readers.py` does the same with a bound on memory.
"""

import tempfile
from pathlib import Path

import pytest
import torch

from tests.readers.registry import READERS
from tests.readers.trials import try_reader

SEED, FILES = 0, 1000
MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path):
    """An empty folder, in memory where the system has one there."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_read_or_refused(reader, folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks of a few weights
    try:
        outcome = try_reader(reader, folder, SEED, FILES)
    finally:
        torch.set_num_threads(threads)
    assert not outcome.faults, f"seed {SEED}, {outcome.example}"
    assert outcome.read + outcome.refused == FILES
