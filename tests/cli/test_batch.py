"""`mamtra batch`: a file of texts to a folder of sound files, resumed line by line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mamtra
from mamtra.audio.watermark import mark
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.tts import TTS, Audio, Text
from tests.factories import reference

ROWS = [
    {"id": "hello", "text": "Hello there."},
    {"id": "fast", "text": "Good morning.", "speed": 2.0, "seed": 3, "format": "flac", "voice": "tiny"},
    {"text": "How are you? This is a sentence of seven words."},
]


def write(rows, name="in.jsonl") -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def run(capsys, *words, status=0):
    """Summary of a run with --json, and what it printed on standard error."""
    assert main(["batch", *words, "--json"]) == status
    out, err = capsys.readouterr()
    return json.loads(out), err


def stamps(folder="out"):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}


@pytest.fixture
def spoken(monkeypatch):
    """Texts that were spoken."""
    texts, batch = [], TTS.batch

    def watched(self, given, *args, **options):
        def each():
            for text in given:
                texts.append(text.text)
                yield text

        return batch(self, each(), *args, **options)

    monkeypatch.setattr(TTS, "batch", watched)
    return texts


def test_lines_that_are_to_be_marked_are_made_again(model, capsys, monkeypatch):
    words = [write(ROWS), "out", "--model", model]
    run(capsys, *words)
    plain, rate = soundfile.read("out/hello.wav", dtype="float32")
    assert run(capsys, *words, "--watermark")[0]["made"] == 3 and run(capsys, *words, "--watermark")[0]["kept"] == 3
    np.testing.assert_allclose(soundfile.read("out/hello.wav")[0], mark(plain, rate), atol=1e-4)
    monkeypatch.setenv("MAMTRA_WATERMARK_KEY", "mine")
    assert run(capsys, *words, "--watermark")[0]["made"] == 3


def test_lines_are_what_say_makes_of_them(model, capsys):
    summary, _ = run(capsys, write(ROWS), "out", "--model", model)
    assert (summary["made"], summary["kept"], summary["failures"]) == (3, 0, [])
    assert sorted(stamps()) == ["batch.jsonl", "fast.flac", "hello.wav", "line0003.wav"]
    tts = mamtra.load(model)
    expected = tts.say(ROWS[1]["text"], "tiny", seed=3, speed=2.0)
    found, rate = soundfile.read("out/fast.flac", dtype="float32")
    assert rate == 24000 and np.abs(found - expected.samples).max() < 1e-4
    assert Path("out/hello.wav").read_bytes() == tts.say(ROWS[0]["text"]).to_bytes("wav")


def test_text_files(model, capsys):
    Path("in.txt").write_bytes("\ufeffHello.\r\n\r\nGood morning.\r\n".encode())
    summary, _ = run(capsys, "in.txt", "new/out", "--model", model, "--format", "mp3", "--seed", "2")
    assert summary["made"] == 2
    assert sorted(stamps("new/out")) == ["batch.jsonl", "line0001.mp3", "line0003.mp3"]


def test_what_is_finished_is_not_made_again(model, capsys, spoken):
    run(capsys, write(ROWS), "out", "--model", model)
    before = stamps()
    spoken.clear()
    summary, _ = run(capsys, "in.jsonl", "out", "--model", model)
    assert (summary["made"], summary["kept"]) == (0, 3) and spoken == [] and stamps() == before
    Path("out/hello.wav").unlink()
    changed = [ROWS[0], {**ROWS[1], "format": "wav"}, {"text": "Hello, you."}]
    summary, _ = run(capsys, write([*changed, {"text": "Hi."}]), "out", "--model", model)
    assert (summary["made"], summary["kept"]) == (4, 0) and len(spoken) == 4
    assert sorted(stamps()) == ["batch.jsonl", "fast.wav", "hello.wav", "line0003.wav", "line0004.wav"]
    spoken.clear()
    run(capsys, "in.jsonl", "out", "--model", model, "--seed", "1")
    assert spoken == ["Hello there.", "Hello, you.", "Hi."], "the line with a seed of its own stays"


def test_an_interrupted_run_goes_on_where_it_stopped(model, capsys, monkeypatch, spoken):
    stop, to_bytes = [], Audio.to_bytes

    def interrupt(self, fmt):
        if stop:
            raise KeyboardInterrupt
        stop.append(1)
        return to_bytes(self, fmt)

    monkeypatch.setattr(Audio, "to_bytes", interrupt)
    assert main(["batch", write(ROWS), "out", "--model", model]) == 130
    capsys.readouterr()
    monkeypatch.setattr(Audio, "to_bytes", to_bytes)
    with open("out/batch.jsonl", "ab") as record:
        record.write(b'{"id": "fast", "fi')  # a line that was being written when the power failed
    spoken.clear()
    summary, _ = run(capsys, "in.jsonl", "out", "--model", model)
    assert (summary["made"], summary["kept"]) == (2, 1) and spoken == [row["text"] for row in ROWS[1:]]
    assert run(capsys, "in.jsonl", "out", "--model", model)[0]["kept"] == 3


def test_a_changed_voice_is_noticed(model, capsys):
    reference(Path("me.wav"), seconds=1.5, rate=24000)
    rows = [{"text": "Hello.", "voice": "me.wav"}, {"text": "Hello."}]
    assert run(capsys, write(rows), "out", "--model", model)[0]["made"] == 2
    reference(Path("me.wav"), seconds=1.6, rate=24000)
    summary, _ = run(capsys, "in.jsonl", "out", "--model", model)
    assert (summary["made"], summary["kept"]) == (1, 1)


BAD = {
    "{": "it is not valid JSON.",
    '{"text": 3}': "text: ",
    '{"text": "Hi.", "sped": 2}': "sped: ",
    '{"text": "Hi.", "speed": 9.0}': "Speed 9 is out of range",
    '{"text": "Hi.", "voice": "nobody"}': "",
    '{"text": "Hi.", "format": "midi"}': "Format 'midi' is unknown",
    '{"text": " "}': "there is no text",
    '{"text": "?!", "id": "marks"}': "",
    '{"text": "Hi.", "id": "../hi"}': "'../hi' cannot be an id",
    '{"text": "Hi.", "id": "a\\u0000"}': "",
    '{"text": "Hi.", "id": ""}': "'' cannot be an id",
    '{"text": "Hi.", "id": "HELLO"}': "line 1 has the id 'HELLO' too",
    '{"text": "Hi.", "seed": -1}': "seed: ",
}


def test_a_bad_line_is_one_sentence_and_the_others_go_on(model, capsys):
    rows = [{"id": "hello", "text": "Hello."}, *BAD, {"id": "hi", "text": "Hi."}]
    summary, err = run(capsys, write(rows), "out", "--model", model, status=2)
    assert summary["made"] == 2 and [f["number"] for f in summary["failures"]] == list(range(2, len(rows)))
    for number, (line, (bad, message)) in enumerate(zip(err.splitlines(), BAD.items(), strict=True), 2):
        assert line.startswith(f"mamtra: in.jsonl, line {number}: {message}"), bad
    assert sorted(stamps()) == ["batch.jsonl", "hello.wav", "hi.wav"]


def test_many_failures_are_one_summary(model, capsys):
    assert main(["batch", write(["{"] * 30 + ['{"text": "Hi."}']), "out", "--model", model]) == 2
    err = capsys.readouterr().err
    assert err.count("in.jsonl, line ") == 20 and "and 10 more" in err and "1 made" in err and "30 failed" in err


def test_mistakes(model, refused):
    Path("empty.txt").write_text("\n")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    Path("in.txt").write_text("Hi.\n")
    Path("file").write_text("")
    os.mkfifo("pipe.txt")
    cases = {
        ("pipe.txt", "out"): "is a pipe or a device",
        ("missing.txt", "out"): "cannot be read: no such file",
        ("empty.txt", "out"): "holds no text",
        ("latin.txt", "out"): "not UTF-8",
        ("in.csv", "out"): "a .txt file with a text a line or a .jsonl file",
        ("in.txt", "file"): "is a file; name a folder",
        ("in.txt", "out", "--format", "midi"): "Format 'midi' is unknown",
        ("in.txt", "out", "--speed", "9"): "out of range",
        ("in.txt", "out", "--workers", "2"): "--workers has no effect without --ray",
    }
    for words, message in cases.items():
        assert message in refused(["batch", *words, "--model", model])
    assert not os.path.exists("out")


def test_from_python(model):
    told = []
    done = mamtra.batch(write(ROWS), "out", model=model, progress=lambda *numbers: told.append(numbers))
    assert done.made == 3 and told == [(1, 3), (2, 3), (3, 3)] and done.seconds > 0
    tts = mamtra.load(model)
    found = list(tts.batch(["Hello.", " ", Text("Hi.", seed=4, speed=2.0)], seed=1))
    assert np.array_equal(found[0].samples, tts.say("Hello.", seed=1).samples)
    assert isinstance(found[1], MamTraError) and found[2].seed == 4
    with pytest.raises(MamTraError, match="has to be an iterable of strings"):
        tts.batch("Hello.")


def test_without_ray_the_extra_is_named(model, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    Path("in.txt").write_text("Hi.\n")
    assert main(["batch", "in.txt", "out", "--model", model, "--ray", "local"]) == 2
    assert capsys.readouterr().err == "mamtra: A batch with --ray needs Ray; run `pip install 'mamtra[ray]'`.\n"


def test_what_is_not_read_is_said_without_the_place_in_the_source(capsys):
    words = [write([{"text": "Hello Привет."}]), "out"]
    _, err = run(capsys, *words)
    assert "Warning: Left out, because this voice reads English only: Привет\n" in err and ".py" not in err
    _, err = run(capsys, *words[:1], "other", "-q")
    assert "Warning" not in err
