import json
import subprocess
import sys

import pytest

from mamtra import __version__
from mamtra.cli import main


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"mamtra {__version__}"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("say", "voices", "doctor"))


@pytest.mark.parametrize(
    "verb", [["say"], ["doctor"], ["voices", "list"], ["voices", "show"], ["voices", "add"], ["voices", "remove"]]
)
def test_each_verb_has_help_with_an_example_and_json(capsys, verb):
    assert main([*verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: mamtra" in out and "--json" in out


HELP = """
import json, sys
import typer
from mamtra.cli.app import build, main

def commands(command, words=()):
    yield words
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))

seen = list(commands(typer.main.get_command(build())))
failed = [words for words in seen if main([*words, "--help"])]
heavy = {"torch", "numpy", "scipy", "transformers", "matplotlib", "tokenizers", "soundfile", "huggingface_hub", "fastapi"}
print(json.dumps([len(seen), failed, sorted(heavy & set(sys.modules))]), file=sys.stderr)
"""


def test_no_help_imports_anything_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    count, failed, heavy = json.loads(done.stderr.splitlines()[-1])
    assert count > 15 and failed == [] and heavy == []


@pytest.mark.parametrize("words", [["sing"], ["say", "--loud"], ["say", "Hi", "--seed", "x"], ["voices", "show"]])
def test_wrong_words_are_one_sentence_and_status_two(capsys, words):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("mamtra: ") and captured.err.count("\n") == 1


def test_internal_errors_are_one_sentence_and_status_one(capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.delenv("MAMTRA_DEBUG", raising=False)
    monkeypatch.setattr("mamtra.cli.doctor.examine", fail)
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Internal error (RuntimeError: first line second line)" in err
    monkeypatch.setenv("MAMTRA_DEBUG", "1")
    assert main(["doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interrupts(capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mamtra.cli.doctor.examine", stop)
    assert main(["doctor"]) == 130
