"""Free memory."""

import pytest

from mamtra.runtime import memory
from mamtra.runtime.memory import free_memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    5000 kB\n")
    return tmp_path


@pytest.mark.parametrize(
    ("most", "used", "free"),
    [("max", "7", 5_120_000), ("3000000", "1000000", 2_000_000), ("1000", "2000", 0), ("9000000", "1000", 5_120_000)],
)
def test_the_limit_of_a_container_counts(machine, most, used, free):
    (machine / "memory.max").write_text(most)
    (machine / "memory.current").write_text(used)
    assert free_memory() == free


def test_without_control_groups(machine):
    assert free_memory("mps") == 5_120_000
    (machine / "meminfo").unlink()
    assert free_memory() is None
