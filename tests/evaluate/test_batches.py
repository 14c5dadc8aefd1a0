"""Many lines at once: the same rows as one by one, on disk as they come, and judges that can do it."""

import sys
import types

import numpy as np
import pytest
import torch

from mamtra.audio.io import write_audio
from mamtra.evaluate.judges.asr import open_transcriber
from mamtra.evaluate.judges.models import DistilMOS
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.systems import GroundTruth, Sounds
from tests.evaluate.judges.test_whisper_transformers import make

IDS = "abcdef"


class Batch:
    """StandIn how long a sound is, several at once; may break down."""

    batch_size = 2

    def __init__(self, breaks=99):
        self.about, self.sizes, self.breaks = {"asr": "stand-in"}, [], breaks

    def many(self, sounds):
        self.sizes.append(len(sounds))
        if len(self.sizes) == self.breaks:
            raise KeyboardInterrupt
        return [f"sound of {len(samples)}" for samples, _ in sounds]

    def __call__(self, samples, sample_rate):
        return f"sound of {len(samples)}"


class SpeakerEncoder:
    """A vector of the loudness."""

    about = "loudness"

    def __call__(self, samples, sample_rate):
        vector = np.array([1.0, np.abs(samples).mean()])
        return vector / np.linalg.norm(vector)


@pytest.fixture
def place(tmp_path):
    """Six lines with recordings; sound of four of them, of two rates, one silent."""
    (tmp_path / "sounds").mkdir()
    for number, key in enumerate(IDS):
        rate = 24000 if number % 2 else 16000
        tone = np.sin(np.arange(int(rate * (0.5 + number / 10))) / 9).astype(np.float32) / 2
        write_audio(tmp_path / f"{key}.wav", tone, rate)
        if key in "abde":
            write_audio(tmp_path / "sounds" / f"{key}.wav", tone * (key != "d") * 0.7, rate)
    rows = "".join(f"{key}\tthe words of {key}\t{key}.wav\t{IDS[0]}.wav\n" for key in IDS)
    (tmp_path / "set.tsv").write_text("id\ttext\tground_truth\tprompt\n" + rows, encoding="utf-8")
    return tmp_path


def plain(row):
    return {key: value for key, value in row.items() if key != "spent"}


def run(place, transcriber, name="s.jsonl"):
    scorer = Scorer(Sounds(place / "sounds"), transcriber, SpeakerEncoder(), lambda samples, rate: float(len(samples)))
    for _ in evaluate_set(Job("x", ""), read_set(place / "set.tsv"), place / name, scorer=scorer):
        pass
    return read_scores(place / name).rows


def test_rows_are_those_of_one_by_one(place):
    lines, transcriber = read_set(place / "set.tsv").lines, Batch()
    scorer = Scorer(Sounds(place / "sounds"), transcriber, SpeakerEncoder(), lambda samples, rate: float(len(samples)))
    single = [scorer(line) for line in lines]
    together = scorer.many([(line, None) for line in lines])
    assert [plain(row) for row in together] == [plain(row) for row in single]
    assert [*together[0]] == [*single[0]] and {*together[0]["spent"]} == {*single[0]["spent"]}
    assert (
        "similarity_to_ground_truth" in together[0]
        and "similarity_to_ground_truth" not in together[3]
        and "mos" in together[3]
    )
    assert [row.get("error") for row in together] == [None, None, "there is no sound", None, None, "there is no sound"]
    assert transcriber.sizes[-1] == 4


def test_a_batch_that_breaks_leaves_the_rows_before_it(place):
    with pytest.raises(KeyboardInterrupt):
        run(place, Batch(breaks=2))
    assert [*read_scores(place / "s.jsonl").rows] == ["a", "b"]
    transcriber = Batch()
    rows = run(place, transcriber)
    assert [*rows] == [*IDS] and transcriber.sizes == [1, 1]  # c and f have no sound
    assert {key: plain(row) for key, row in rows.items()} == {
        key: plain(row) for key, row in run(place, Batch(), "whole.jsonl").items()
    }


def test_only_files_are_transcribed_in_batches(place):
    assert Scorer(Sounds(place), Batch()).batch_size == 2 == Scorer(GroundTruth(), Batch()).batch_size
    assert (
        Scorer(lambda line: None, Batch()).batch_size == 1 == Scorer(GroundTruth(), lambda samples, rate: "").batch_size
    )


def test_a_tiny_whisper_in_batches(place):
    transcriber = open_transcriber(make(place / "whisper"), device="cpu")
    scorer = Scorer(GroundTruth(), transcriber)
    lines = read_set(place / "set.tsv").lines
    together = scorer.many([(line, None) for line in lines])
    assert [plain(row) for row in together] == [plain(scorer(line)) for line in lines]
    assert all(row["hypothesis"] for row in together)


@pytest.fixture
def rated(monkeypatch):
    """DistilMOS with a network that rates a window by its first and last sample, and notes how many it saw."""
    seen = []

    class Network(torch.nn.Module):
        def __init__(self, segmenting_in_forward):
            super().__init__()
            assert not segmenting_in_forward

        def forward(self, windows):
            seen.append(windows.shape)
            return (windows[:, :1] + 10 * windows[:, -1:]).double()

    package = types.ModuleType("distillmos")
    package.ConvTransformerSQAModel = Network
    monkeypatch.setitem(sys.modules, "distillmos", package)
    monkeypatch.setattr("mamtra.evaluate.judges.models.metadata.version", lambda name: "1")
    return DistilMOS(), seen


def test_distilmos_rates_windows_of_several_sounds_together(rated):
    judge, seen = rated
    short, long = np.ones(3, np.float32), np.arange(judge.WINDOW + 16001, dtype=np.float32) / 1e5
    found = judge.many([(short, 16000), (long, 16000)])
    starts = [0, 16001 // 2, 16001]  # as the package cuts: ceil(16001 / 16000) + 1 windows, evenly spread
    expected = np.mean([long[s] + 10 * long[s + judge.WINDOW - 1] for s in starts])
    assert found == [1.0, pytest.approx(expected)] == [judge(short, 16000), judge(long, 16000)]
    assert seen[0] == (4, judge.WINDOW) and judge.many([]) == []


def test_distilmos_leaves_no_stand_in_behind(monkeypatch, tmp_path):
    """Its package may import torchaudio; afterwards transformers, which asks for the spec of torchaudio, still works."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "distillmos.py").write_text(
        "import torch, torchaudio\nfrom torchaudio.transforms import MFCC\n"
        "class ConvTransformerSQAModel(torch.nn.Module):\n"
        "    def __init__(self, segmenting_in_forward):\n        super().__init__()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("mamtra.evaluate.judges.models.metadata.version", lambda name: "1")
    before = {name for name in sys.modules if name.startswith("torchaudio")}
    try:
        assert DistilMOS().about == "distillmos 1"
    finally:
        sys.modules.pop("distillmos", None)
    assert {name for name in sys.modules if name.startswith("torchaudio")} == before
    extractor = transformers.SeamlessM4TFeatureExtractor()
    assert extractor(np.zeros(16000, np.float32), sampling_rate=16000, return_tensors="np")["input_features"].size


def test_distilmos_is_what_its_package_finds():
    distillmos = pytest.importorskip("distillmos")
    rng = np.random.default_rng(0)
    sounds = [(rng.normal(0, 0.1, length).astype(np.float32), 16000) for length in (5000, 122_880, 122_881, 150_000)]
    network = distillmos.ConvTransformerSQAModel().eval()
    with torch.inference_mode():
        theirs = [float(network(torch.from_numpy(wave)[None])[0]) for wave, _ in sounds]
    assert DistilMOS().many(sounds) == pytest.approx(theirs, abs=1e-4)
