import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))


class Judge:
    def __init__(self, heard, about="a judge"):
        self.heard, self.about, self.calls = heard, about, 0

    def __call__(self, samples, rate):
        self.calls += 1
        return self.heard(samples)


@pytest.fixture
def judges(monkeypatch):
    """Stand-ins for the judges of `paired_scores`, which count their calls."""
    import paired_scores

    found = {
        "open_transcriber": Judge(lambda x: "this is a sentence", {"asr": "a judge"}),
        "open_speaker_encoder": Judge(lambda x: np.ones(4) / 2),
        "DistilMOS": Judge(lambda x: 3.0 + len(x) / 1e6),
    }
    for name, judge in found.items():
        monkeypatch.setattr(paired_scores, name, lambda *_, judge=judge: judge)
    return found
