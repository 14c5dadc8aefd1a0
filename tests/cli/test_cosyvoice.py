"""CosyVoice 2 through the command line: speak, convert, list speakers, export."""

import json
import os
import subprocess
import sys

import pytest
import torch

from mamtra.cli.app import main
from tests.foreign import cosyvoice_directory, cosyvoice_state
from tests.foreign3 import cosyvoice3_directory


@pytest.fixture
def source(tmp_path):
    return str(cosyvoice_directory(tmp_path / "cosy"))


def test_say_convert_say_export(source, tmp_path, capsys):
    say = ["say", "hello there.", "-o", "a.wav", "--seed", "1", "--json", "--model"]
    assert main([*say, source, "--instruct", "slow."]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "ann"
    assert main(["convert", source, "made", "--ratio", "1:1"]) == 0
    assert "flow.pt" in capsys.readouterr().out
    assert main([*say, "made", "--voice", "speaker-2"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "made"
    assert main(["convert", source, "same", "--ratio", "1:0"]) == 0
    assert main(["export", "same", "llm.pt", "--json"]) == 0
    name = "llm_decoder.weight"
    assert torch.equal(torch.load(tmp_path / "llm.pt", weights_only=True)[name], cosyvoice_state()[name])


def test_mistakes_are_one_sentence(source, capsys, model, refused):
    assert main(["convert", source, "made", "--ratio", "1:1"]) == 0
    capsys.readouterr()
    for words, message in (
        (["export", "made", "llm.pt"], "2 Mamba layers"),
        (["say", "Hi.", "--model", model, "--instruct", "Slow."], "follows no instructions"),
        (["say", "hi.", "--model", source, "--voice", "bob"], "no voice 'bob'; voices here: ann, 女."),
        (["say", "hi.", "--model", source, "--voice", "ann", "--voice-text", "Hi."], "a stored voice has its own"),
    ):
        assert message in refused(words)


def test_preset_speakers_are_listed(source, capsys):
    assert main(["voices", "list", "--model", source, "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["ann", "女"]


@pytest.mark.parametrize("make", [cosyvoice_directory, cosyvoice3_directory])
def test_sound_goes_out_while_words_come_in(make, tmp_path):
    """Within a sentence: five text ids are a word here, and a hop wants nine of them at most."""
    model = str(make(tmp_path / "model"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = ["say", "-", "-o", "-", "--stream", "--format", "pcm", "--voice", "ann", "--model", model, "-q"]
    with subprocess.Popen(
        [sys.executable, "-m", "mamtra", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as said:
        for word in ["tom ", "met ", "his ", "aunt "] * 6:
            said.stdin.write(word.encode())
            said.stdin.flush()
        assert len(said.stdout.read(2000)) == 2000
        said.stdin.write(b"at noon.")
        said.stdin.close()
        assert len(said.stdout.read()) % 2 == 0
    assert said.returncode == 0
