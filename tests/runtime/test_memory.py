"""Free memory."""

import pytest

from mamtra.runtime import memory
from mamtra.runtime.memory import address_space, describe_gpu_lack, describe_lack, free_memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_PROCESS", tmp_path)
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    5000 kB\n")
    (tmp_path / "status").write_text("VmSize:  4000 kB\nVmRSS:  1000 kB\n")
    (tmp_path / "limits").write_text("Max address space         unlimited            unlimited            bytes\n")
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
    assert address_space() is None
    assert free_memory("mps") == 5_120_000
    (machine / "meminfo").unlink()
    assert free_memory() is None


def test_the_limit_of_a_process_counts(machine):
    (machine / "limits").write_text("Max address space         6096000              unlimited            bytes\n")
    assert free_memory() == 2_000_000
    assert address_space() == (4_096_000, 6_096_000)
    assert describe_lack(3_000_000) == "8 MB are needed, and this process can have 6 MB (ulimit -v)"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (None, "more is needed than the 6 MB that this process can have"),
        (9_000_000, "11 MB are needed, and this process can have 6 MB"),
        (10, "more is needed than the 6 MB that this process can have"),  # 10 bytes are free by now
    ],
)
def test_how_much_is_missing(machine, asked, said):
    assert describe_lack(asked) == said
    (machine / "meminfo").unlink()
    assert describe_lack(asked) == (asked and f"{-(-asked // 10**6)} MB more could not be had")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which 1.50 GiB is free.",
            "2,148 MB more are needed, and 1,610 MB are free",
        ),
        (
            "CUDA out of memory. GPU 0 has a total capacity of 79.1 GiB of which 512.00 MiB is free.",
            "more is needed than the 536 MB that are free",
        ),
    ],
)
def test_how_much_is_missing_on_a_gpu(message, said):
    assert describe_gpu_lack(message) == said
