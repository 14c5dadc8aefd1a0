"""Evaluation from Python: systems, judges that are objects, comparison, report."""

import json
import subprocess
import sys

import pytest

from mamtra.errors import MamTraError
from mamtra.evaluate import Scores, compare, evaluate, load_scores, report
from mamtra.evaluate.systems import is_model
from mamtra.runtime.locks import file_lock
from mamtra.tts import load
from tests.factories import reference, tiny_model
from tests.foreign import cosyvoice_directory


class Finds:
    """A transcriber that finds the same words in everything."""

    def __init__(self, words="hello there"):
        self.about, self.words = {"asr": "stand-in"}, words

    def __call__(self, samples, sample_rate):
        return self.words


@pytest.fixture
def place(tmp_path, monkeypatch):
    tiny_model(tmp_path / "tiny")
    reference(tmp_path / "one.wav", 1.0)
    rows = "a\tHello there.\tone.wav\nb\tHello there.\t\n"
    (tmp_path / "set.tsv").write_text("id\ttext\tground_truth\n" + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_loaded_model_is_evaluated_compared_and_reported(place):
    seen = []
    scores = evaluate(
        load("tiny", device="cpu"),
        "set.tsv",
        whisper=Finds(),
        output="a.jsonl",
        progress=lambda *step: seen.append(step),
    )
    assert isinstance(scores, Scores) and scores.path.name == "a.jsonl" and not scores.remarks
    assert scores.figures["wer_english"]["value"] == 0 and [*scores.references] == ["ground_truth", "resynthesis"]
    assert seen[0] == ("", 0, 2) and ("", 2, 2) in seen and seen[-1] == ("resynthesis", 1, 1)
    assert scores.summary()["references"]["ground_truth"]["utterances"] == 1
    worse = evaluate("tiny", "set.tsv", whisper=Finds("hello"), output="b.jsonl", alone=True, devices=["cpu"])
    found = compare(scores, worse)
    assert found["figures"]["wer_english"]["difference"] == pytest.approx(50.0) and not found["differs"]
    assert compare("a.jsonl", load_scores("b.jsonl"))["figures"] == found["figures"]
    page = report([scores, "b.jsonl"], "page.html", media=False)
    assert "tiny" in page.read_text(encoding="utf-8")


def test_two_evaluations_do_not_share_a_score_file(place):
    with file_lock(place / "a.jsonl", "evaluation"), pytest.raises(MamTraError, match="in use by another evaluation"):
        evaluate("tiny", "set.tsv", whisper=Finds(), output="a.jsonl", alone=True, devices=["cpu"])
    assert not (place / "a.jsonl").exists()


def test_speed_has_no_sign_test(place):
    scores = evaluate("tiny", "set.tsv", whisper=Finds(), output="a.jsonl", alone=True, devices=["cpu"])
    figures = compare(scores, scores)["figures"]
    assert {*figures["rtf"]} == {*figures["ttfa_ms"]} == {"difference", "ci95"}
    assert "p_sign" in figures["wer_english"] and "p_sign" in figures["words_per_second"]


def test_a_published_cosyvoice_directory_is_a_system(place):
    directory = cosyvoice_directory(place / "cosy")
    assert is_model(directory)
    (place / "set.txt").write_text("hello there.\n", encoding="utf-8")
    scores = evaluate(str(directory), "set.txt", whisper=Finds(), output="c.jsonl", alone=True, devices=["cpu"])
    assert scores.file.fingerprint["kind"] == "model" and len(scores.file.fingerprint["weights_sha256"]) == 16
    assert set(scores.file.rows) == {"line0001"}
    before = scores.file.fingerprint["weights_sha256"]
    with (directory / "flow.pt").open("ab") as file:
        file.write(b"0")
    with pytest.raises(MamTraError, match="measured with another weights_sha256"):
        evaluate(str(directory), "set.txt", whisper=Finds(), output="c.jsonl", alone=True, devices=["cpu"])
    assert before


def test_what_cannot_be_done_is_one_sentence(place):
    with pytest.raises(MamTraError, match="needs a transcriber"):
        evaluate("tiny", "set.tsv", whisper=None)
    with pytest.raises(MamTraError, match="Several processes"):
        evaluate("tiny", "set.tsv", whisper=Finds(), workers=2)
    with pytest.raises(MamTraError, match="'truth' is called 'ground_truth' now"):
        evaluate("truth", "set.tsv", whisper=Finds())
    with pytest.raises(MamTraError, match="no recordings of its texts"):
        evaluate("ground_truth", "plain", whisper=Finds())


def test_keys_of_earlier_versions_are_refused_by_name(place):
    first = {"fingerprint": {"system": "x"}}
    row = {"id": "a", "reference": "hello"}
    for lines, old, new in (
        ([{"stamp": {"system": "x"}}, row], "stamp", "fingerprint"),
        ([first, {**row, "heard": "hello"}], "heard", "hypothesis"),
        ([first, {**row, "similarity_to_truth": 0.5}], "similarity_to_truth", "similarity_to_ground_truth"),
    ):
        (place / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.raises(MamTraError, match=f"old.jsonl, line .: the key {old!r} is called {new!r} now"):
            load_scores("old.jsonl")
    (place / "old.tsv").write_text("id\ttext\ttruth\na\tHello.\t\n", encoding="utf-8")
    with pytest.raises(MamTraError, match="the column 'truth' is called 'ground_truth' now"):
        evaluate("tiny", "old.tsv", whisper=Finds())


def test_the_names_cost_nothing_until_they_are_used():
    code = "import sys, mamtra.evaluate, mamtra.ranking; assert 'torch' not in sys.modules; mamtra.evaluate.report"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["rapidfuzz", "scipy", "jinja2"])
def test_a_missing_library_is_one_sentence(place, monkeypatch, module):
    scores = evaluate("tiny", "set.tsv", whisper=Finds("hello"), output="a.jsonl", alone=True, devices=["cpu"])
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MamTraError, match=f"needs {module}; pip install 'mamtra.eval.'"):
        report([scores, scores], "page.html", media=False)
