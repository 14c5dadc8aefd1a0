"""Fixtures that several strata share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(min(2, os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that read vectors of the original code, and skip those of a GPU where there is none."""
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of parity vectors of the original CosyVoice 2 code; the test is skipped where it is not laid beside the checkout."""
    root = Path(os.environ.get("MAMTRA_GOLDEN", Path(__file__).resolve().parents[2] / "shared" / "golden"))
    if not (root / "index.json").is_file():
        pytest.skip(f"no parity vectors at {root} (set MAMTRA_GOLDEN)")
    return root
