import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mamtra
from mamtra.cli import default_file, main
from mamtra.cli.say import DEFAULT_TEXT, read_text
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from tests.factories import reference

FACTS = {"file", "seconds", "rtf", "ttfa_ms", "tokens", "seed", "model", "voice", "finish_reason"}


def test_a_file_and_its_facts(model, capsys):
    assert main(["say", "Hello.", "-o", "a.wav", "--model", model, "--seed", "7", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == FACTS
    assert facts["file"] == "a.wav" and facts["seed"] == 7 and facts["voice"] == "tiny" and facts["model"] == "tiny"
    info = soundfile.info("a.wav")
    assert info.samplerate == 24000 and abs(info.duration - facts["seconds"]) < 0.01


def test_the_seed_is_told_on_standard_error(model, capsys):
    assert main(["say", "Hello.", "--model", model, "--seed", "5"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "seed 5" in captured.err and " of real time" in captured.err
    assert Path("speech.wav").is_file()


def test_quiet(model, capsys):
    assert main(["say", "Hello.", "--model", model, "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "seed" not in captured.err


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.opus", "a.mp3", "a.pcm"])
def test_formats_by_suffix(model, name):
    assert main(["say", "Hello.", "-o", name, "--model", model]) == 0
    assert Path(name).stat().st_size > 100


def test_format_by_name(model):
    assert main(["say", "Hello.", "-o", "plain", "--format", "flac", "--model", model]) == 0
    assert soundfile.info("plain").format == "FLAC"


def test_same_seed_same_bytes(model):
    for name, seed in (("a.wav", "1"), ("b.wav", "1"), ("c.wav", "2")):
        assert main(["say", "Hello.", "-o", name, "--model", model, "--seed", seed]) == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes() != Path("c.wav").read_bytes()


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_say_marks_what_it_makes(model, capfdbinary, more):
    """The same samples but for the mark, chunk by chunk where it streams."""
    made = []
    for words in ([], ["--watermark"]):
        assert (
            main(["say", "Hello there. How are you?", "-o", "-", "--format", "pcm", "--model", model, *more, *words])
            == 0
        )
        made.append(np.frombuffer(capfdbinary.readouterr().out, "<i2") / 32767)
    plain, marked = made
    assert len(plain) == len(marked)
    assert 1e-4 < np.square(marked - plain).mean() / np.square(plain).mean() < 0.03


SAY = [sys.executable, "-m", "mamtra", "say"]
if find_spec("onnxruntime"):  # a process with torch takes seconds to start
    SAY += ["--runtime", "onnx"]


@pytest.fixture
def packages(monkeypatch):
    """Processes find what this one does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))


def run(*words, text=None):
    return subprocess.run([*SAY, *words], input=text, capture_output=True, check=False)


@pytest.mark.parametrize("extra", [[], ["--stream"]])
@pytest.mark.usefixtures("packages")
def test_pipes(model, extra):
    done = run("-", "-o", "-", "--format", "pcm", "--model", model, "--json", *extra, text=b"Good morning. Hello.")
    assert done.returncode == 0
    facts = json.loads(done.stderr)
    assert facts["file"] is None
    assert len(done.stdout) == 2 * round(facts["seconds"] * 24000)
    assert list(Path().glob("*.wav")) == []


@pytest.mark.usefixtures("packages")
def test_streamed_wav_on_standard_output_is_playable(model):
    done = run("Good morning. Hello.", "-o", "-", "--stream", "--model", model)
    samples, rate = soundfile.read(io.BytesIO(done.stdout))
    assert rate == 24000 and len(samples) > 2400


@pytest.mark.usefixtures("packages")
def test_sound_goes_out_while_text_comes_in(model):
    words = [*SAY, "-", "-o", "-", "--stream", "--format", "pcm", "--hops", "10,25,50", "--model", model, "-q"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as said:
        said.stdin.write("Good morning. Héllo ".encode())
        said.stdin.flush()
        assert len(said.stdout.read(2000)) == 2000
        said.stdin.write(b"there.")
        said.stdin.close()
        assert len(said.stdout.read()) > 2000
    assert said.returncode == 0


@pytest.mark.usefixtures("packages")
def test_text_that_is_not_utf8(model):
    for extra in ([], ["--stream"]):
        done = run("-", "-o", "-", "--model", model, *extra, text=b"Good \xff morning.")
        assert done.returncode == 2 and b"not UTF-8" in done.stderr


def test_text_from_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped words"))
    assert read_text("-") == "piped words"
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped words"))
    assert read_text(None) == "piped words"
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert read_text(None) == DEFAULT_TEXT
    monkeypatch.setattr(sys, "stdin", None)
    assert read_text(None) == DEFAULT_TEXT


def test_a_recording_as_voice(model, capsys):
    reference(Path("me.wav"), 1.5)
    assert main(["say", "Hello.", "--voice", "me.wav", "--voice-text", "Hi there.", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "me"
    assert main(["say", "Hello.", "--voice", "me.wav", "--model", model]) == 0
    assert "Advice: No transcript was given" in capsys.readouterr().err


def test_playing(model, monkeypatch, refused):
    monkeypatch.setattr("mamtra.cli.player.PLAYERS", (("no-such-player",),))
    assert "No player was found" in refused(["say", "Hello.", "--play", "--model", "not read"])
    script = Path("player.py")
    script.write_text("import shutil, sys; shutil.copy(sys.argv[1], 'played.wav')")
    monkeypatch.setattr("mamtra.cli.player.PLAYERS", ((sys.executable, str(script)),))
    assert main(["say", "Hello.", "--play", "--model", model]) == 0
    assert soundfile.info("played.wav").frames > 100
    assert not Path("speech.wav").exists()


def test_sound_that_cannot_be_played_is_kept(model, monkeypatch, refused):
    monkeypatch.setattr("mamtra.cli.player.PLAYERS", ((sys.executable, "-c", "raise SystemExit(1)"),))
    assert "could not play the sound; it is in speech.wav" in refused(["say", "Hello.", "--play", "--model", model])
    assert soundfile.info("speech.wav").frames > 100


def test_without_a_name_no_file_is_replaced(model, capsys):
    for name in ("speech.wav", "speech-2.wav", "speech-3.wav"):
        assert main(["say", "Hello.", "--model", model]) == 0
        assert Path(name).is_file() and capsys.readouterr().err.startswith(f"{name}: ")
    assert main(["say", "Hello.", "--model", model, "--format", "mp3"]) == 0
    assert Path("speech.mp3").is_file() and not Path("speech-4.wav").exists()


def test_processes_that_speak_at_once_take_names_of_their_own(monkeypatch):
    class Sound:
        def save(self, name):
            if name.endswith("xyz"):
                raise MamTraError("no such format")
            Path(name).write_text("mine")

    names = iter(["speech.wav", "speech-2.wav", "speech.xyz"])  # the other one was faster after the first look
    monkeypatch.setattr(default_file, "default_file", lambda *_: next(names))
    Path("speech.wav").write_text("of another")
    assert default_file.save_by_default(Sound(), "speech") == "speech-2.wav"
    assert Path("speech.wav").read_text() == "of another" and Path("speech-2.wav").read_text() == "mine"
    with pytest.raises(MamTraError):
        default_file.save_by_default(Sound(), "speech")
    assert not Path("speech.xyz").exists()


@pytest.mark.parametrize(
    "option", ["-o=a.wav", "--voice=tiny", "--seed=1", "--play", "--speed=1", "--format=mp3", "--srt=a.srt", "-q"]
)
def test_showing_text_refuses_what_it_would_ignore(model, refused, option):
    assert "has no effect with --show-text" in refused(
        ["say", "Hi", "--show-text", *option.split("="), "--model", model]
    )


@pytest.mark.parametrize("options", [["-o", "a.wav"], ["-o", "-", "--stream"]])
def test_subtitles(model, capfdbinary, options):
    text = "Hello there. How are you?"
    assert main(["say", text, *options, "--srt", "a.srt", "--vtt", "a.vtt", "--model", model]) == 0
    number, first, shown, _, _, second, last = Path("a.srt").read_text().splitlines()
    assert (number, shown, last) == ("1", "Hello there.", "How are you?")
    moments = [moment for line in (first, second) for moment in line.split(" --> ")]
    assert moments == sorted(moments) and moments[0] == "00:00:00,000" < moments[1] < moments[2]
    assert Path("a.vtt").read_text() == "WEBVTT\n\n" + re.sub(r"(:\d\d),", r"\1.", Path("a.srt").read_text())


def bad_inputs():
    """Words of a command, and a part of the sentence it must answer with."""
    return {
        "empty": (["say", ""], "no text"),
        "voice": (["say", "Hi", "--voice", "nobody"], "no voice 'nobody'"),
        "suffix": (["say", "Hi", "-o", "a.xyz"], "names no sound format"),
        "folder": (["say", "Hi", "-o", "folder.wav"], "is a folder"),
        "no folder of subtitles": (["say", "Hi", "-o", "b.wav", "--srt", "gone/a.srt"], "does not exist"),
        "no folder": (["say", "Hi", "-o", "gone/a.wav"], "does not exist"),
        "hops": (["say", "Hi", "--stream", "-o", "-", "--hops", "soon"], "Hops 'soon' cannot be read"),
        "hops of nothing": (["say", "Hi", "--hops", "25,50"], "--hops has no effect without --stream"),
        "stream to a file": (["say", "Hi", "--stream", "-o", "a.wav"], "--stream has no effect without -o -"),
        "stream to the player": (["say", "Hi", "--stream", "--play"], "--stream has no effect without -o -"),
        "no file": (["say", "Hi", "-o", ""], "name of the file is empty"),
        "words": (["say", "Hi", "there"], "put what belongs together in quotes"),
        "no home": (["say", "Hi", "--voice", "~no-such-user/a.wav"], "no sound file ~no-such-user/a.wav"),
        "silent": (["say", "Hi", "--voice", "silent.wav"], "is silent"),
        "transcript": (["say", "Hi", "--voice", "tiny", "--voice-text", "words"], "goes with a recording"),
    }


@pytest.fixture
def bad_files():
    Path("folder.wav").mkdir()
    soundfile.write("silent.wav", np.zeros(32000), 16000)


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_is_one_sentence_and_leaves_nothing(case, model, bad_files, refused):
    words, expected = bad_inputs()[case]
    before = sorted(os.listdir())
    assert expected in refused(words if "--model" in words else [*words, "--model", model])
    assert sorted(os.listdir()) == before


def test_missing_weights(model, refused):
    shutil.copytree(model, "half")
    Path("half/flow.safetensors").unlink()
    assert "flow.safetensors is missing" in refused(["say", "Hi", "--model", "half"])


def test_what_would_be_read_is_shown(capsys, tmp_path):
    lexicon = tmp_path / "own.tsv"
    lexicon.write_text("Xyzzy\tzˈɪzi", encoding="utf-8")
    text = "Xyzzy left on 3/4/2024. Привет."
    assert main(["say", "--show-text", text, "--lexicon", str(lexicon), "--date-order", "dmy"]) == 0
    shown = capsys.readouterr().out
    assert "April third" in shown and "/zˈɪzi " in shown and "(not read: Привет)" in shown
    assert main(["say", "--show-text", text, "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert "March fourth" in parts[0]["text"] and parts[-1]["unread"] == ["Привет"]


def test_nothing_to_show_is_said(refused):
    assert "nothing to say" in refused(["say", "--show-text", "..."])


def test_what_is_not_read_is_said_once(capfd, tmp_path):
    assert main(["say", "Hello Привет.", "-o", str(tmp_path / "a.wav")]) == 0
    assert capfd.readouterr().err.count("Warning: Left out, because this voice reads English only: Привет") == 1


@pytest.mark.parametrize(
    ("options", "words"), [(["--date-order", "ymd"], "no date order 'ymd'"), (["--lexicon", "gone.tsv"], "gone.tsv")]
)
def test_pronunciations_and_date_orders_that_do_not_serve(options, words, refused):
    assert words in refused(["say", "Hello.", *options])


def test_a_hybrid_that_was_not_distilled_is_warned_of_once(model, tmp_path, capsys):
    hybrid = mamtra.convert(model, tmp_path / "fresh", LayerPlan.from_ratio(2, "0:1"))
    main(["say", "Hello there. Good morning.", "--model", str(hybrid), "-o", str(tmp_path / "a.wav")])
    err = capsys.readouterr().err
    assert err.count("babbles") == 1 and "Warning: The hybrid fresh has not been distilled" in err
