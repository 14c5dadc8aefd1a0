"""Models as systems: several seeds, resynthesis, devices in turn."""

import pytest

from mamtra.cli.evaluate import split_devices
from mamtra.evaluate.api import follow
from mamtra.evaluate.run import Job, evaluate_set
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.summary import compare_scores as compare
from mamtra.evaluate.summary import summarise
from mamtra.evaluate.systems import Resynthesis, Speaking, open_system
from mamtra.tts import load
from tests.factories import reference, tiny_model


class StandIn:
    """StandIn one word too much every second time."""

    def __init__(self):
        self.about, self.calls = {"asr": "stand-in"}, 0

    def __call__(self, samples, sample_rate):
        self.calls += 1
        return "hello there" + " you" * (self.calls % 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny model and a set of two lines, one of them with a recording."""
    folder = tmp_path_factory.mktemp("systems")
    tiny_model(folder / "tiny")
    reference(folder / "recording.wav", 1.0)
    (folder / "set.lst").write_text("a|||Hello there.|recording.wav\nb|Hello there.\n", encoding="utf-8")
    return folder


def run(system, plan, place, name):
    steps = evaluate_set(plan, read_set(place / "set.lst"), place / name, scorer=Scorer(system, StandIn()))
    return follow(steps)


def test_several_seeds_in_one_file(place):
    seeds = (3, 4)
    system = Speaking(load(place / "tiny"), seeds=seeds, keep=place / "kept")
    scores = run(system, Job("tiny", "", seeds=seeds), place, "seeds.jsonl")
    assert [*scores.rows] == ["a#3", "a#4", "b#3", "b#4"] == [*read_scores(scores.path).rows]
    assert scores.fingerprint["seed"] == [3, 4] and (place / "kept" / "a.4.wav").exists()
    assert scores.rows["a#3"]["sha256"] != scores.rows["a#4"]["sha256"]
    found = summarise(scores)
    assert (found["utterances"], found["seeds"]) == (2, 2)
    assert found["figures"]["wer_english"]["value"] == pytest.approx(25.0)
    one = run(Speaking(load(place / "tiny")), Job("tiny", ""), place, "one.jsonl")
    assert [*one.rows] == ["a", "b"] and one.fingerprint["seed"] == 0 and summarise(one)["seeds"] == 1
    assert compare(one, scores)["utterances"] == 2 == compare(scores, one)["utterances"]


def test_recordings_are_resynthesised(place):
    system = Resynthesis(load(place / "tiny"), keep=place / "again")
    first, other = read_set(place / "set.lst").lines
    spoken = system(first)
    assert spoken.facts["tokens"] == 25 and len(spoken.samples) and (place / "again" / "a.wav").exists()
    assert system(other) is None and system.about["system"] == "resynthesis by tiny"
    opened = open_system("resynthesis", voice=None, seeds=(0,), keep=None, device="cpu", model=str(place / "tiny"))
    assert isinstance(opened, Resynthesis)


def test_processes_get_devices_in_turn():
    plan = Job("x", "", devices=split_devices("cuda:0, cuda:1,cuda:2"))
    assert [plan.device_of(process) for process in range(5)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert Job("x", "", devices=split_devices(None)).device_of(3) is None
