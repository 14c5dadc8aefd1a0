"""Files from elsewhere, damaged in many ways: each is read, or refused in one sentence."""

import json
import random

import pytest

from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate import compare, load_scores, report
from mamtra.evaluate.listening.analysis import analyse
from mamtra.evaluate.listening.answers import read_answers
from mamtra.evaluate.listening.key import read_key
from mamtra.evaluate.versa import read_config
from tests.readers.damage import damaged

FIRST = {"fingerprint": {"system": "x", "set": "s", "asr": "w", "seed": 0, "rules": {"english": "e"}, "metrics": {}}}
ROWS = [
    {"id": "a", "reference": "the old red hat", "hypothesis": "the old bed hat", "mos": 4.0, "rtf": 0.5, "tokens": 9},
    {"id": "b", "reference": "good night", "error": "there is no sound", "spent": {"speaking": 1.0}},
    {"id": "c", "reference": "", "hypothesis": "so", "seconds": 1.5, "sound": "/nowhere.wav", "seed": 3},
]
VERSA = [{"key": "a", "ref_text": "good night", "whisper_hyp_text": "good", "distillmos": 3.0}]
KEY = {
    "listening_test": "mos", "digest": "d", "seed": 0, "systems": ["x"],
    "trials": {
        "t": {"utterance": "a", "catch": False, "clips": {"c": "x"}},
        "n": {"utterance": "a", "catch": True, "clips": {"e": "noise anchor"}},
    },
}  # fmt: skip
SESSION = {
    "listener": "ann", "digest": "d", "finished": "now",
    "answers": [{"trial": "t", "scores": {"c": 4}, "choice": None}, {"trial": "n", "scores": {"e": 1}, "choice": None}],
}  # fmt: skip


def lines(items):
    return "".join(json.dumps(item) + "\n" for item in items)


@pytest.mark.parametrize("items", [[FIRST, *ROWS], VERSA], ids=["ours", "versa"])
def test_score_files(tmp_path, items):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(lines([FIRST, *ROWS]), encoding="utf-8")
    accepted = 0
    for content in damaged(lines(items), random.Random(0), 120):
        bad.write_bytes(content)
        try:
            scores = load_scores(bad)
            compare(good, scores, force=True)
            report([good, scores], tmp_path / "page.html", media=False)
            accepted += 1
        except MamTraError as error:
            assert len(str(error)) < 700 and "\n" not in str(error)
    assert accepted


@pytest.mark.parametrize("rating", ["NaN", "-0.5", "4e9", "1e400", "6"])
def test_ratings_outside_the_scale_are_refused_and_counted(tmp_path, rating):
    (tmp_path / "k.key.json").write_text(json.dumps(KEY), encoding="utf-8")
    text = json.dumps(SESSION).replace('{"c": 4}', f'{{"c": {rating}}}')
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({**SESSION, "listener": "bo"}), encoding="utf-8")
    known = read_key(tmp_path / "k.key.json")
    found, remarks = read_answers([tmp_path / "a.json", tmp_path / "b.json"], known)
    assert remarks == ["ann: 1 ratings outside the scale were refused"]
    figures = analyse(found, known)
    assert figures["refused"] == 1 and figures["answers"] == 1 and figures["systems"]["x"]["mean"] == 4
    (tmp_path / "a.json").write_text(text.replace('{"e": 1}', '{"e": -1}'), encoding="utf-8")
    left_out = analyse(read_answers([tmp_path / "a.json", tmp_path / "b.json"], known)[0], known)["left_out"]
    assert left_out == {"ann": "failed 1 of 1 catch trials"}


def test_an_earlier_key_names_the_new_word(tmp_path):
    (tmp_path / "k.key.json").write_text(json.dumps(KEY).replace("noise anchor", "catch"), encoding="utf-8")
    with pytest.raises(MamTraError, match="the clip 'catch' is called 'noise anchor' now"):
        read_key(tmp_path / "k.key.json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 2000, "- {name: !!timestamp x}", "- {name: !!bool maybe}", "- !!set {name}", "- {name: !!int x}",
        "- name: " + "9" * 5000,
        "- {name: [a, b]}", "- {name: 2001-01-01}", "a: &a [x, x]\nb: &b [*a, *a]\n", "- ? [a]\n  : b", "\x00", "- {name: *x}",
    ],
)  # fmt: skip
def test_versa_configurations_that_are_odd(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(MamTraError) as error:
        read_config(tmp_path / "c.yaml")
    assert len(str(error.value)) < 400


def test_text_from_files_reaches_the_terminal_as_text(tmp_path, capsys):
    """Markup and escapes in names of systems do nothing."""
    first = {"fingerprint": {**FIRST["fingerprint"], "system": "[/red]\u001b[31mx"}}
    (tmp_path / "a.jsonl").write_text(lines([first, *ROWS[:2]]), encoding="utf-8")
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl")]) == 0
    from mamtra.cli.evaluate import _show
    from mamtra.evaluate.summary import summarise

    _show({**summarise(load_scores(tmp_path / "a.jsonl")), "references": {}})
    out = capsys.readouterr().out
    assert "[/red]" in out and "\u001b" not in out
