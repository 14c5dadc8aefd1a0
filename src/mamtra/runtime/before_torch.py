"""Settings of the libraries below torch and numpy, which read them from the environment when they are first used."""

from __future__ import annotations

import os

CACHES = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}
"""Entries that torch's binding of oneDNN and oneDNN itself keep of what they made for a shape, 1024 each by default. Each utterance
has new lengths, and so new shapes in each layer: memory would grow, and what is kept is hardly used again."""


def set_environment() -> None:
    """Set what is not set: bounded caches, and threads that wait passively.

    Threads that wait actively for one another crawl once other programs want the cores; OpenMP reads this when torch is imported,
    OpenBLAS when numpy is, whose threads else wait so at once, before there is anything to compute.
    """
    for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4", **CACHES}.items():
        os.environ.setdefault(name, value)
