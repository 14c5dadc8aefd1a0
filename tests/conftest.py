"""Fixtures that several strata share."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from mamtra.cli import main
from tests.vectors import Vectors, distance

# no test fails because a machine is busy
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
# test processes side by side have a core each
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that read vectors of the original code, and skip those of a GPU where there is none.

    Those of a browser, which take longest, come first, so that at the end no process waits for another.
    """
    items.sort(key=lambda item: item.path.parent.name != "web")
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)


def pytest_collection_finish() -> None:
    """Leave what was imported out of every garbage collection of the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def golden() -> Vectors:
    """Parity vectors of the original CosyVoice 2 code; the test is skipped where they are not laid beside the checkout."""
    root = Path(os.environ.get("MAMTRA_GOLDEN", Path(__file__).resolve().parents[2] / "shared" / "golden"))
    if not (root / "index.json").is_file():
        pytest.skip(f"no parity vectors at {root} (set MAMTRA_GOLDEN)")
    return Vectors(root)


@pytest.fixture
def agree(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Compare with the original: agree(what, ours, theirs, below). The distance is noted in the report of the test run, from
    which `benchmarks/parity.py` takes its figures; without a bound the two have to be equal."""

    def compare(what: str, ours: Any, theirs: Any, below: float = 0.0) -> None:
        found, scale = distance(ours, theirs)
        record_property("parity", json.dumps({"what": what, "difference": found, "of": scale, "below": below}))
        assert found < below or found == 0, f"{what}: {found:.3g} of {scale:.3g}, allowed {below:g}"

    return compare


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Sequence[str]], str]:
    """Run a command that a mistake of the user ends: refused(words) is the one sentence that it says."""

    def run(words: Sequence[str]) -> str:
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("mamtra: ") and err.count("\n") == 1
        return " ".join(err.split())

    return run
