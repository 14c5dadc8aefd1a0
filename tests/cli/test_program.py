import json
import os
import signal
import subprocess
import sys

import pytest

from mamtra import __version__
from mamtra.audio.io import write_audio
from mamtra.cli import main
from tests.factories import speech_like


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"mamtra {__version__}"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("say", "voices", "doctor"))


@pytest.mark.parametrize(
    "verb",
    [
        "say",
        "doctor",
        "voices list",
        "voices show",
        "voices add",
        "voices remove",
        "rank",
        "plan",
        "reproduce",
        "distill",
    ],
)
def test_each_verb_has_help_with_an_example_and_json(capsys, verb):
    assert main([*verb.split(), "--help"]) == 0
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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["say", "Hi", "--seed", "x"],
            "Invalid value for '--seed': it has to be a whole number; see `mamtra say --help`.",
        ),
        (["say", "Hi", "--seed", "-1"], "it has to be 0 or more; see `mamtra say --help`."),
        (["say", "Hi", "--speed", "fast"], "it has to be a number; see `mamtra say --help`."),
        (["voices", "show"], "Missing argument 'NAME'; see `mamtra voices show --help`."),
        (["say", "Good", "day"], "'day' is too much; put what belongs together in quotes; see `mamtra say --help`."),
        (["sing"], "No such command 'sing'; see `mamtra --help`."),
        (["saay"], "No such command 'saay'. Did you mean 'say'? See `mamtra --help`."),
    ],
)
def test_wrong_words_are_told_plainly_with_the_help_that_fits(capsys, words, sentence):
    main(words)
    assert sentence.lower() in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "There is not enough memory on this machine: more is needed than the "),
        (
            RuntimeError("unable to mmap 73400320 bytes from file <x>: Cannot allocate memory (12)"),
            "that this process can have; close",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"),
            "on this GPU: 2,685 MB more ",
        ),
        (OSError(12, "Cannot allocate memory"), "machine: more is needed than the "),
    ],
)
def test_a_lack_of_memory_is_a_sentence(refused, monkeypatch, error, sentence):
    def fail(*_):
        raise error

    monkeypatch.setattr("mamtra.cli.doctor.examine", fail)
    assert sentence in refused(["doctor"])


@pytest.mark.parametrize(
    "words",
    [
        ["distill", "FILE"],
        ["reproduce", "table3", "--config", "FILE"],
        ["compare", "FILE", "FILE"],
        ["report", "FILE"],
        ["listen", "read", "FILE", "FILE"],
        ["plan", "--layers", "8", "--ratio", "1:1", "--strategy", "importance-kl", "--ranking", "FILE"],
        ["say", "Hi", "--lexicon", "FILE"],
        ["say", "Hi", "--voice", "FILE"],
        ["say", "Hi", "--model", "FILE"],
        ["voices", "add", "me", "FILE"],
        ["prepare", "FILE", "out"],
    ],
    ids=" ".join,
)
def test_pipes_devices_and_folders_are_no_files(words, capsys):
    os.mkfifo("pipe.jsonl")  # which nobody writes to: opening it would wait for ever
    for file in ("pipe.jsonl", "/dev/zero", "."):
        assert main([file if word == "FILE" else word for word in words]) == 2, file
        err = capsys.readouterr().err
        assert err.startswith("mamtra: ") and err.count("\n") == 1 and "Internal" not in err


def test_no_message_reaches_the_terminal_with_escapes(capsys):
    assert main(["say", "Hi", "--model", "\x1b[31mred\x07"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\x07" not in err and err.count("\n") == 1


WAIT = """
import signal, sys, time
from mamtra.cli import app, doctor
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has its children ignore it
def wait(*_):
    print("begun", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        if not SWALLOWED:
            raise
        raise ValueError("a library was interrupted") from None
doctor.examine = wait
sys.exit(app.main(["doctor"]))
"""


@pytest.mark.parametrize("swallowed", [False, True], ids=["", "inside a library that makes an error of it"])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_a_command_with_a_word(name, status, swallowed):
    program = f"SWALLOWED = {swallowed}\n{WAIT}"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    child.send_signal(getattr(signal, name))
    _, err = child.communicate(timeout=30)
    assert child.returncode == status and err in ("mamtra: Interrupted.\n", "mamtra: Terminated.\n")


OPENMP = "import mamtra; mamtra.load"


@pytest.mark.parametrize(("own", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_of_python_programs_leave_the_cores_alone(own, policy):
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | {"OMP_DISPLAY_ENV": "true"}
    env |= {"OMP_WAIT_POLICY": own} if own else {}
    done = subprocess.run([sys.executable, "-c", OPENMP], capture_output=True, text=True, check=True, env=env)
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this torch has an OpenMP that does not tell")
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr


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


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "corpus.jsonl", "out", "--model", "lm"],
        ["say", "Hi", "--model", "lm"],
        ["say", "Hi", "--model", "lm", "--show-text"],
        ["batch", "lines.txt", "out", "--model", "lm"],
    ],
    ids=" ".join,
)
def test_a_language_model_of_text_is_not_blamed_for_missing_files(refused, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lm"
    folder.mkdir()
    (folder / "config.json").write_text('{"format": 1, "causal_lm": {}}')
    write_audio(tmp_path / "a.wav", speech_like(1.5), 16000)
    (tmp_path / "corpus.jsonl").write_text('{"audio": "a.wav", "text": "Good morning."}\n')
    (tmp_path / "lines.txt").write_text("Good morning.\n")
    said = "mamtra: lm is a language model of text, with no voices and no text front end; name a model that speaks."
    assert said in refused(words)
