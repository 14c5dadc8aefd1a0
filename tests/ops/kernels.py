"""Where the tests of Triton kernels run: on a GPU, or in Triton's interpreter, in the process that test_mixer_triton starts."""

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
kernels_run = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="runs in a process of its own")
