import json
import subprocess
import sys
from pathlib import Path

import pytest

from mamtra.cli import main
from tests.factories import reference, tiny_voice


def test_adding_listing_showing_using_and_removing(model, capsys, refused):
    reference(Path("me.wav"), 1.5)
    words = [
        "voices",
        "add",
        "anna",
        "me.wav",
        "--text",
        "Hello there.",
        "--consent",
        "my own",
        "--model",
        model,
        "--json",
    ]
    assert main(words) == 0
    captured = capsys.readouterr()
    added = json.loads(captured.out)
    assert Path(added["file"]).is_file() and added["advice"] and "Advice:" in captured.err

    assert main(["voices", "list", "--model", model, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["anna"]["origin"] == "user" and rows["tiny"]["origin"] == "model"

    assert main(["voices", "show", "anna", "--model", model, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["consent"] == "my own" and shown["transcript"] is True and shown["source"] == "me.wav"

    assert main(["say", "Hi", "--voice", "anna", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "anna"

    assert "already" in refused(words)
    assert main([*words, "--replace"]) == 0
    assert main(["voices", "remove", "anna", "--model", model]) == 0
    capsys.readouterr()
    assert "no voice 'anna'" in refused(["voices", "show", "anna", "--model", model])


def test_tables_for_people(model, capsys):
    assert main(["voices", "list", "--model", model]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["voices", "show", "tiny", "--model", model]) == 0
    shown = capsys.readouterr().out
    assert "CC0-1.0" in shown and "True" not in shown


def test_voices_of_the_model_stay(model, refused):
    assert "cannot be removed" in refused(["voices", "remove", "tiny", "--model", model])


def test_one_damaged_voice_hides_no_other(model, capsys):
    own = Path("home/voices")
    own.mkdir(parents=True)
    (own / "bad.safetensors").write_bytes(b"not a voice")
    assert main(["voices", "list", "--model", model]) == 0
    captured = capsys.readouterr()
    assert "tiny" in captured.out and "bad.safetensors is damaged" in captured.err and captured.err.count("\n") == 1


def test_foreign_text_is_printed_plainly(model, capsys):
    own = Path("home/voices")
    own.mkdir(parents=True)
    about = {"description": "\x1b[31mred[/red]\x07", "language": "\x1b]0;title\x07"}
    tiny_voice("odd").renamed("odd", **about).save(own / "odd.safetensors")
    for words in (["list"], ["show", "odd"]):
        assert main(["voices", *words, "--model", model]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and "\x07" not in out and "[/red]" in out


def test_listing_imports_nothing_heavy(model):
    code = f"""
import sys
from mamtra.cli import main
main(["voices", "list", "--model", {model!r}])
print(sorted({{"torch", "numpy", "scipy", "tokenizers", "soundfile", "huggingface_hub"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tiny" in done.stdout and done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("more", [[], ["--replace"]])
def test_a_voice_of_the_model_is_never_hidden(model, refused, more):
    reference(Path("me.wav"), 1.5)
    assert "which yours would hide" in refused(["voices", "add", "tiny", "me.wav", "--model", model, *more])


@pytest.mark.parametrize("name", ["CON", "nul.txt", "lpt1", "../up", "-x", "a b", "é"])
def test_names_that_are_no_file_names_are_refused(model, refused, name):
    assert "cannot name a voice" in refused(["voices", "add", "--model", model, "--", name, "gone.wav"])
