"""What users get wrong in an evaluation: one sentence each, before anything is measured."""

import sys
import types

import numpy as np
import pytest

from mamtra.audio.io import write_audio
from mamtra.cli import main
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.systems import Sounds

LISTS = {
    "fields.lst": "a|Hello.\nb|p|p.wav|Hello.|t.wav|more\n",
    "gone.lst": "a|Hello.\nb|In it.|gone.wav|Hello.\n",
    "gone.tsv": "id\ttext\tground_truth\na\tHello.\tgone.wav\n",
    "empty.lst": "a|Hello.\nb|In it.||  |\n",
    "empty.tsv": "id\ttext\na\tHello.\nb\t \n",
    "chinese.txt": "Hello.\n今天天气很好。\n",
    "nothing.lst": "\n\n",
    "nothing.tsv": "id\ttext\n",
    "latin.lst": b"a|Caf\xe9\n",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAMTRA_WHISPER", raising=False)
    for name, content in LISTS.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "sounds").mkdir()
    write_audio(tmp_path / "sounds" / "line0001.wav", np.full(2400, 0.1, np.float32), 24000)
    (tmp_path / "good.txt").write_text("Hello.\n", encoding="utf-8")
    (tmp_path / "metrics.yaml").write_text("- {name: whisper_wer}\n- {name: beauty}\n", encoding="utf-8")
    (tmp_path / "void").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "fields.lst"], "fields.lst, line 2: 6 fields between bars, not 2 to 5."),
        (["--set", "gone.lst"], "gone.lst, line 2: there is no sound file gone.wav."),
        (["--set", "gone.tsv"], "gone.tsv, line 2: there is no sound file gone.wav."),
        (["--set", "empty.lst"], "empty.lst, line 2: there is no text."),
        (["--set", "empty.tsv"], "empty.tsv, line 3: there is no text."),
        (["--set", "chinese.txt"], "'今天天气很好。' is not English text"),
        (["--set", "nothing.lst"], "nothing.lst holds no utterance."),
        (["--set", "nothing.tsv"], "nothing.tsv holds no utterance."),
        (["--set", "latin.lst"], "latin.lst is not UTF-8 text; convert it, for example with iconv."),
        (["--config", "metrics.yaml"], "asks for beauty; the metrics known here are whisper_wer, speaker, pseudo_mos"),
        (["--mos", "--rater", "transcriber"], "There is no rater 'transcriber'; give distilmos, utmos or utmos:DIR."),
        (["--similarity", "--encoder", "nobody"], "nobody"),
        (["--whisper", "void"], "void is no Whisper: it has neither model.bin"),
        (
            ["--whisper", "missing"],
            "no Whisper model 'missing' here or on the hub; give a folder with --whisper DIR, or a size",
        ),
        (["--whisper", "hf:no/thing"], "or hf:NAME, such as hf:openai/whisper-base."),
        (
            ["--whisper", ""],
            "needs a transcriber; give a Whisper with --whisper DIR|NAME, such as base (145 MB, fetched once)",
        ),
        (["--device", "tpu"], "There is no device 'tpu'"),
    ],
)
def test_mistakes_get_a_sentence(place, monkeypatch, capsys, arguments, message):
    def engine(source, **_):
        if source != "good":
            raise RuntimeError("no such model")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "faster_whisper", types.SimpleNamespace(WhisperModel=engine))
    monkeypatch.setattr("mamtra.evaluate.judges.asr.metadata.version", lambda name: "1")
    common = ["evaluate", "sounds", "--set", "good.txt", "--whisper", "good", "-o", "s.jsonl"]
    assert main([*common, *arguments]) == 2  # of an option given twice the second counts
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (place / "s.jsonl").exists()


def test_sound_of_another_rate_reaches_every_judge_at_theirs(place):
    rates = []

    def judge(samples, rate):
        rates.append((len(samples), rate))
        return "hello"

    judge.about = {"asr": "stand-in"}
    scorer = Scorer(Sounds(place / "sounds"), judge, rater=lambda samples, rate: judge(samples, rate) and 3.0)
    row = scorer(read_set("good.txt").lines[0])
    assert rates == [(1600, 16000)] * 2 and row["seconds"] == 0.1 and row["mos"] == 3.0


def test_a_damaged_recording_is_named(place, refused, monkeypatch):
    monkeypatch.setattr(
        "mamtra.evaluate.judges.asr.open_transcriber",
        lambda *_: type("StandIn", (), {"about": {"asr": "x"}, "__call__": lambda self, samples, rate: "hello"})(),
    )
    (place / "t.wav").write_bytes(b"not a sound file")
    (place / "t.lst").write_text("line0001||| Hello.|t.wav\n", encoding="utf-8")
    said = refused(["evaluate", "sounds", "--set", "t.lst", "--whisper", "x", "-o", "s.jsonl"])
    assert "t.wav cannot be read as a sound file" in said
