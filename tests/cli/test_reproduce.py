"""`mamtra reproduce`: the list, the files, and one sentence for every mistake."""

import json
import os
import sys
from pathlib import Path

import pytest

from mamtra.cli import main
from mamtra.paper.api import MEASURED, STUDIES, TRAINED


def test_the_list(capsys):
    assert main(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)
    assert main(["reproduce", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == list(STUDIES)


def test_results_are_written_and_shown(capsys):
    assert main(["reproduce", "table3-flops", "table1", "table1", "-o", "out/here"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("# Table 1") == 1 and "4.5355" in captured.out
    assert sorted(os.listdir("out/here")) == [
        *(f"table1.{suffix}" for suffix in ("csv", "json", "md", "svg")),
        *(f"table3-flops.{suffix}" for suffix in ("csv", "json", "md")),
    ]
    assert json.loads(Path("out/here/table1.json").read_text())["command"] == "mamtra reproduce table1"


def test_json(capsys):
    assert main(["reproduce", "table3-flops", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)["table3-flops"]
    assert captured.err == "" and found["rows"][0]["model"] == "Llasa-1B"
    assert all(Path(file).is_file() for file in found["files"])


def test_all_is_all_that_there_is(capsys, monkeypatch):
    for name in ("table2", "fig5"):  # slower, and tested where they are made
        monkeypatch.setitem(STUDIES, name, STUDIES["table3-flops"])
    assert main(["reproduce", "all", "--json"]) == 0
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert list(done) == [name for name in STUDIES if name not in (*TRAINED, *MEASURED)]
    assert all(name in captured.err for name in STUDIES if name not in done)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["table9"], "no 'table9' to reproduce; choose of table1"),
        (["table1", "fig9"], "no 'fig9' to reproduce"),
        (["table1", "table4"], "table4 needs training runs; give their settings with --config"),
        (["table1", "-o", "file"], "file is a file"),
        (["fig5"], "pip install 'mamtra[eval]'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(words, expected, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    Path("file").touch()
    before = sorted(os.listdir())
    assert expected in refused(["reproduce", *words])
    assert sorted(os.listdir()) == before
