"""The lexicon of the embedded voice, and a reader that shows unknown words in brackets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mamtra
from mamtra.text.english.g2p import G2P
from mamtra.text.english.lexicon import Lexicon

torch.set_num_threads(1)  # the networks here are far too small to share

ASSETS = Path(mamtra.__path__[0]) / "assets" / "mini"


@pytest.fixture(scope="session")
def lexicon() -> Lexicon:
    return Lexicon.load(ASSETS / "lexicon.txt.xz")


@pytest.fixture(scope="session")
def g2p(lexicon: Lexicon) -> G2P:
    return G2P(lexicon, lambda word: f"[{word}]")
