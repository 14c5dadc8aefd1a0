"""Streams that are closed, or cannot hold every character."""

import io
import json
import os
import sys

from mamtra.cli import main
from mamtra.cli.streams import complete_streams


def test_an_encoding_without_the_characters_gets_their_numbers(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["say", "--show-text", "Caf\u00e9.", "--json"]) == 0
    sys.stdout.flush()
    shown = written.getvalue().decode("ascii")
    assert "\\u02c8" in shown and "\u02c8" in json.loads(shown)[0]["phonemes"]
    print("\U0001f600\ud800", flush=True)
    assert written.getvalue().endswith(b"\\ud83d\\ude00\\ud800" + os.linesep.encode())


def test_closed_streams_take_what_is_written_and_keep_their_numbers(monkeypatch):
    taken = []
    monkeypatch.setattr(os, "open", lambda *words, at=os.open: taken.append(at(*words)) or taken[-1])
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    complete_streams()
    print("to nobody", file=sys.stderr, flush=True)
    assert sys.stderr.fileno() == taken[1] and sys.stdin is None
    sys.stderr.close()
    os.close(taken[0])


def test_a_terminal_of_no_width_gets_the_whole_plan(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "0")
    assert main(["plan", "--layers", "4", "--ratio", "1:3"]) == 0
    assert "parameters" in capsys.readouterr().out.lower()


def test_a_command_runs_without_standard_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["say", "--show-text", "Hello."]) == 0
    assert main(["say", "--speed", "9", "Hello."]) == 2
    assert "Hello" in capsys.readouterr().out
    sys.stderr.close()
