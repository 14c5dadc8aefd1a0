"""Fixtures that several strata share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of parity vectors of the original CosyVoice 2 code; the test is skipped where it is not laid beside the checkout."""
    root = Path(os.environ.get("MAMTRA_GOLDEN", Path(__file__).resolve().parents[2] / "shared" / "golden"))
    if not (root / "index.json").is_file():
        pytest.skip(f"no parity vectors at {root} (set MAMTRA_GOLDEN)")
    return root
