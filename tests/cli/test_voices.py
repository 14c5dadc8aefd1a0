import json
from pathlib import Path

from mamtra.cli import main
from tests.factories import reference


def test_adding_listing_showing_using_and_removing(model, capsys):
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

    assert main(words) == 2
    assert "already" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0
    assert main(["voices", "remove", "anna", "--model", model]) == 0
    capsys.readouterr()
    assert main(["voices", "show", "anna", "--model", model]) == 2
    assert "no voice 'anna'" in capsys.readouterr().err


def test_tables_for_people(model, capsys):
    assert main(["voices", "list", "--model", model]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["voices", "show", "tiny", "--model", model]) == 0
    assert "CC0-1.0" in capsys.readouterr().out


def test_voices_of_the_model_stay(model, capsys):
    assert main(["voices", "remove", "tiny", "--model", model]) == 2
    assert "cannot be removed" in capsys.readouterr().err


def test_bad_names_are_refused_before_any_work(model, capsys):
    assert main(["voices", "add", "../up", "gone.wav", "--model", model]) == 2
    assert "cannot name a voice" in capsys.readouterr().err
