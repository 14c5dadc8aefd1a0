"""`mamtra prepare` on trees of the real layouts, JSON lines and data sets."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from mamtra.audio.io import write_audio
from mamtra.checkpoints.native import hash_model
from mamtra.cli import main
from mamtra.data.token_shards import TokenShards
from mamtra.data.tokenize import Filter, tokenize_batch
from mamtra.synthesis.open_model import open_model
from tests.factories import speech_like

SECONDS = (1.2, 1.6, 2.0, 1.4)


def libritts(root: Path) -> Path:
    for i, seconds in enumerate(SECONDS):
        folder = root / "train-clean-100" / f"{100 + i % 2}" / "121669"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{100 + i % 2}_121669_000001_{i:06}"
        write_audio(folder / f"{name}.wav", speech_like(seconds, 24000), 24000)
        (folder / f"{name}.normalized.txt").write_text("Hello there, how are you?")
        (folder / f"{name}.original.txt").write_text("Hello there -- how are you?")
    return root


def librispeech(root: Path) -> Path:
    folder = root / "dev-clean" / "84" / "121123"
    folder.mkdir(parents=True)
    lines = []
    for i, seconds in enumerate(SECONDS):
        name = f"84-121123-{i:04}"
        write_audio(folder / f"{name}.flac", speech_like(seconds), 16000)
        lines.append(f"{name} HELLO THERE HOW ARE YOU")
    (folder / "84-121123.trans.txt").write_text("\n".join(lines) + "\n")
    return root


def json_lines(root: Path) -> Path:
    root.mkdir()
    for i, name in enumerate("abc"):
        write_audio(root / f"{name}.wav", speech_like(1.5 + i / 10), 16000)
    write_audio(root / "short.wav", speech_like(0.4), 16000)
    write_audio(root / "long.wav", speech_like(4.0), 16000)
    (root / "broken.wav").write_bytes(b"RIFF....")
    rows = [
        {"audio": "a.wav", "text": "Good morning.", "speaker": "ann"},
        {"audio": "b.wav", "text": " ", "id": "silent"},
        {"audio": "c.wav", "text": "word " * 40, "id": "wordy"},
        *({"audio": f"{name}.wav", "text": "Hello."} for name in ("short", "long", "broken", "missing")),
    ]
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "list.jsonl"


def run(capsys, model, corpus, out, *words):
    status = main(["prepare", str(corpus), str(out), "--model", model, "--device", "cpu", "--json", *words])
    captured = capsys.readouterr()
    return json.loads(captured.out) if status == 0 else captured.err


@pytest.mark.parametrize("make", [libritts, librispeech])
def test_trees(model, make, capsys):
    summary = run(capsys, model, make(Path("corpus")), "out", "--per-shard", "3")
    assert summary["utterances"] == 4 and summary["shards"] == 2 and summary["skipped"] == 0
    assert summary["hours"] == pytest.approx(sum(SECONDS) / 3600, abs=1e-4)
    found = TokenShards("out")
    opened = open_model(Path(model))
    assert found.manifest.speakers == (["100", "101"] if make is libritts else ["84"])
    assert found.manifest.sources == (["train-clean-100"] if make is libritts else ["dev-clean"])
    assert found.manifest.speech_tokenizer == hash_model(model)["speech_tokenizer"][:16]
    text = "Hello there, how are you?" if make is libritts else "hello there how are you"
    assert found[0].text.tolist() == opened.text.encode(text)
    assert sorted(found.speech_len) == sorted(-(-round(s * 16000) // 640) for s in SECONDS)


def test_recordings_that_cannot_be_used_are_listed(model, capsys):
    summary = run(capsys, model, json_lines(Path("corpus")), "out", "--max-seconds", "3", "--max-text", "120")
    assert summary["utterances"] == 1
    assert summary["reasons"] == {
        "longer than 3 s": 1,
        "more than 120 text ids": 1,
        "no text": 1,
        "shorter than 1 s": 1,
        "unreadable sound": 2,
    }
    assert summary["examples"]["unreadable sound"].startswith("corpus/broken.wav cannot be read")
    assert summary["examples"]["no text"] == "silent"
    listed = {row["id"]: row for row in map(json.loads, Path("out/skipped.jsonl").read_text().splitlines())}
    assert "no sound file" in listed["missing"]["detail"] and "cannot be read" in listed["broken"]["detail"]


def test_silence_is_skipped_and_byte_order_marks_are_read(model, capsys):
    write_audio("a.wav", speech_like(1.5), 16000)
    write_audio("b.wav", np.zeros(24000, np.float32), 16000)
    rows = [json.dumps({"audio": f"{name}.wav", "text": "Hello."}) for name in "ab"]
    Path("list.jsonl").write_text("\n".join(rows), encoding="utf-8-sig")
    summary = run(capsys, model, "list.jsonl", "out")
    assert summary["utterances"] == 1 and summary["reasons"] == {"silent": 1}


def test_transcripts_that_are_no_text_are_counted(model, capsys):
    texts = ["Hello.", None, True, ["a", "b"], 7, "\ud800", "Good morning.\u2028You."]
    for i in range(len(texts)):
        write_audio(f"{i}.wav", speech_like(1.2 + i / 10), 16000)
    rows = [json.dumps({"audio": f"{i}.wav", "text": text, "id": None}) for i, text in enumerate(texts[:-1])]
    rows.append(json.dumps({"audio": "6.wav", "text": texts[-1], "speaker": None}, ensure_ascii=False))
    Path("list.jsonl").write_text("\n".join(rows), encoding="utf-8-sig")
    summary = run(capsys, model, "list.jsonl", "out")
    assert summary["utterances"] == 2 and summary["reasons"] == {"no transcript": 1, "unreadable text": 4}
    assert summary["examples"]["unreadable text"] == "The transcript of 2 is True, not text."
    assert TokenShards("out").manifest.speakers == ["unknown"]


def test_what_a_folder_lacks_is_counted(model, capsys):
    folder = libritts(Path("corpus")) / "train-clean-100" / "100" / "121669"
    write_audio(folder / "100_121669_000009_000000.wav", speech_like(1.1), 16000)
    (folder / "100_121669_000009_000001.normalized.txt").write_text("Gone.")
    write_audio(folder / "100_121669_000009_000002.wav", speech_like(1.3), 16000)
    (folder / "100_121669_000009_000002.normalized.txt").write_bytes("Ärger".encode("latin-1"))
    shutil.copy(folder / "100_121669_000001_000000.wav", folder / "100_121669_000009_000003.wav")
    (folder / "100_121669_000009_000003.normalized.txt").write_text("Hello again.")
    summary = run(capsys, model, "corpus", "out")
    assert summary["utterances"] == 4
    assert summary["reasons"] == {
        "no sound file": 1,
        "no transcript": 1,
        "same recording as another": 1,
        "unreadable text": 1,
    }
    assert "000009_000002.normalized.txt is not UTF-8" in summary["examples"]["unreadable text"]
    repeated = "100_121669_000009_000003 is the recording of 100_121669_000001_000000."
    assert summary["examples"]["same recording as another"] == repeated
    assert main(["prepare", "corpus", "out", "--model", model, "--device", "cpu"]) == 0
    assert f"1  same recording as another, first {repeated}" in capsys.readouterr().out


def test_recordings_of_transcript_lists_without_a_line(model, capsys):
    corpus = librispeech(Path("corpus"))
    write_audio(corpus / "dev-clean" / "84" / "121123" / "84-121123-0009.flac", speech_like(1.1), 16000)
    assert run(capsys, model, corpus, "out")["reasons"] == {"no transcript": 1}


def test_ljspeech(model, capsys):
    Path("LJ/wavs").mkdir(parents=True)
    for i in range(3):
        write_audio(f"LJ/wavs/LJ001-000{i}.wav", speech_like(1.2 + i / 10, 22050), 22050)
    lines = [
        'LJ001-0000|"Hello 7,|"Hello seven,',
        "LJ001-0001|Good morning.|",
        "LJ001-0002|Hello.|Hello.",
        "LJ001-0003|Hi.|Hi.",
    ]
    Path("LJ/metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    summary = run(capsys, model, "LJ", "out")
    assert summary["utterances"] == 3 and summary["reasons"] == {"no sound file": 1}
    encode = open_model(Path(model)).text.encode
    assert TokenShards("out")[0].text.tolist() == encode('"Hello seven,')
    assert TokenShards("out")[1].text.tolist() == encode("Good morning.")
    assert run(capsys, model, "LJ/metadata.csv", "out") == summary
    Path("LJ/metadata.csv").write_text("LJ001-0000|a|b|c\n")
    assert "Line 1 of LJ/metadata.csv is not ID|text" in run(capsys, model, "LJ", "out")


def test_tables_and_sounds_with_text_beside_them(model, capsys):
    Path("clips/ann").mkdir(parents=True)
    for i, name in enumerate(("a.b", "c")):
        write_audio(f"clips/ann/{name}.wav", speech_like(1.2 + i / 10), 16000)
        Path(f"clips/ann/{name}.txt").write_text("Hello there, you.")
    Path("clips/README.txt").write_text("Two clips.")
    Path("rows.csv").write_text(
        'path,sentence,client_id\nclips/ann/a.b.wav,"Hello there, you.",ann\nclips/ann/c.wav,Hi.,7\n'
    )
    Path("rows.tsv").write_text(
        'audio\ttext\tspeaker\nclips/ann/a.b.wav\tHello there, you.\tann\nclips/ann/c.wav\t"Hi.\n'
    )
    expected = {"clips": ["ann"], "rows.csv": ["7", "ann"], "rows.tsv": ["ann", "unknown"]}
    for corpus, speakers in expected.items():
        assert run(capsys, model, corpus, f"out-{corpus}")["utterances"] == 2
        found = TokenShards(f"out-{corpus}")
        assert found.manifest.speakers == speakers
        assert found[0].text.tolist() == open_model(Path(model)).text.encode("Hello there, you.")


def test_suffixes_in_capitals_count_and_hidden_files_do_not(model, capsys):
    Path("clips").mkdir()
    write_audio("clips/a.wav", speech_like(1.2), 16000)
    Path("clips/a.wav").rename("clips/A.WAV")
    for name in ("A.TXT", "._A.TXT", "._A.WAV"):
        Path("clips", name).write_text("Hello there, you.")
    summary = run(capsys, model, "clips", "out")
    assert (summary["utterances"], summary["skipped"]) == (1, 0)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_interrupted_runs_go_on_and_give_equal_files(model, capsys, monkeypatch):
    corpus = libritts(Path("corpus"))
    run(capsys, model, corpus, "whole", "--per-shard", "2")
    run(capsys, model, corpus, "many", "--per-shard", "2", "--workers", "2")
    assert files("whole") == files("many")
    shutil.copytree("whole", "cut")
    Path("cut/manifest.json").unlink()
    Path("cut/shard-00001.safetensors").write_bytes(b"half")
    import mamtra.data.tokenize as module

    read, tokenized = module._read, []
    monkeypatch.setattr(module, "_read", lambda item, **kw: tokenized.append(item.id) or read(item, **kw))
    run(capsys, model, corpus, "cut", "--per-shard", "2")
    assert len(tokenized) == 2 and files("whole") == files("cut")
    run(capsys, model, corpus, "cut", "--per-shard", "3")
    assert len(tokenized) == 6 and TokenShards("cut").manifest.shards[0].utterances == 3


def test_full_disks_keep_what_is_finished(model, capsys, monkeypatch):
    corpus = libritts(Path("corpus"))
    run(capsys, model, corpus, "whole", "--per-shard", "2")
    write, full = Path.write_bytes, True

    def fill(path, content):
        if full and "shard-00001" in path.name:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    err = run(capsys, model, corpus, "out", "--per-shard", "2")
    assert "no space left on device" in err and "make room" in err and err.count("\n") == 1
    assert files("out")["shard-00000.safetensors"] == files("whole")["shard-00000.safetensors"]
    assert not Path("out/manifest.json").exists()
    full = False
    run(capsys, model, corpus, "out", "--per-shard", "2")
    assert files("out") == files("whole")


def test_batches_give_the_codes_of_single_utterances(model):
    network = open_model(Path(model)).speech_tokenizer
    waves = [torch.from_numpy(speech_like(seconds)) for seconds in (1.0, 1.3, 1.7)]
    for wave, codes in zip(waves, tokenize_batch(network, waves, torch.device("cpu")), strict=True):
        single = network.tokenize(wave).numpy()
        assert len(single) == len(codes) and np.mean(single == codes) > 0.9


def test_data_sets(model, capsys, monkeypatch):
    write_audio("a.wav", speech_like(1.5), 16000)
    content = Path("a.wav").read_bytes()

    class Rows:
        column_names = ("audio", "text", "speaker_id")

        def cast_column(self, name, kind):
            return self

        def __len__(self):
            return 5

        def __getitem__(self, key):
            if isinstance(key, str):
                return {"text": ["Hello.", "Good morning.", None, "Hi.", "Hi."], "speaker_id": [7, 8, 9, None, 7]}[key]
            if key == 4:
                return {"audio": None}
            return {"audio": {"bytes": [None, content, content, content[:9]][key], "path": "a.wav"}}

    library = types.ModuleType("datasets")
    library.load_dataset = lambda name, split: Rows()
    library.Audio = lambda decode: None
    monkeypatch.setitem(sys.modules, "datasets", library)
    summary = run(capsys, model, "hf:owner/speech:train", "out")
    assert summary["utterances"] == 2 and TokenShards("out").manifest.speakers == ["7", "8", "unknown"]
    assert summary["reasons"] == {"no transcript": 1, "unreadable sound": 2}
    assert summary["examples"]["unreadable sound"].startswith("Row 3 of owner/speech cannot be read as a sound file")
    assert np.array_equal(TokenShards("out")[0].speech, TokenShards("out")[1].speech)


def test_token_sets(model, capsys):
    np.savez("t.npz", speech=np.arange(9), speech_len=[4, 5], text=np.arange(1, 6), text_len=[2, 3])
    assert run(capsys, model, "t.npz", "out")["utterances"] == 2
    assert TokenShards("out")[1].speech.tolist() == [4, 5, 6, 7, 8]


def test_mistakes(model, capsys):
    Path("empty").mkdir()
    Path("bad.jsonl").write_text('{"audio": "x.wav"}\n')
    Path("null.jsonl").write_text('{"audio": "x.wav", "text": null}\n')
    Path("deep.jsonl").write_text("[" * 100_000 + "]" * 100_000)
    Path("half.jsonl").write_text('{"audio": "x.wav", "text": "Hi.", "speaker": "\\ud800"}\n')
    Path("number.jsonl").write_text('{"audio": 5, "text": "Hi."}\n')
    Path("commas.csv").write_text("audio,text\nx.wav,Hello, you\n")
    Path("quotes.csv").write_text('audio,text\nx.wav,"Hello" you\n')
    Path("bare.csv").write_text("x.wav,Hello.\n")
    Path("x.wav").write_bytes(b"")
    Path("notes.md").write_text("Hello.")
    Path("sounds").mkdir()
    write_audio("sounds/a.wav", speech_like(1.0), 16000)
    Path("latin.jsonl").write_bytes('{"audio": "x.wav", "text": "Ärger"}\n'.encode("latin-1"))
    Path("list.csv").write_text("audio,text\n")
    Path("none.jsonl").write_text("\n")
    Path("all.jsonl").write_text('{"audio": "x.wav", "text": "Hello."}\n')
    for corpus, what in (
        ("nowhere", "no corpus nowhere"),
        ("empty", "empty holds no sound files with transcripts"),
        ("sounds", "sounds holds no sound files with transcripts"),
        ("bad.jsonl", "Line 1 of bad.jsonl"),
        ("null.jsonl", "null.jsonl holds no recordings with transcripts"),
        ("deep.jsonl", "Line 1 of deep.jsonl"),
        ("half.jsonl", "Line 1 of half.jsonl holds half a character"),
        ("number.jsonl", "Line 1 of number.jsonl"),
        ("commas.csv", "commas.csv, line 2: more fields than columns; put texts with commas in quotation marks"),
        ("quotes.csv", "quotes.csv, line 2:"),
        ("bare.csv", "bare.csv, line 1: no column audio or"),
        ("latin.jsonl", "latin.jsonl is not UTF-8"),
        ("list.csv", "list.csv holds no recordings"),
        ("notes.md", "notes.md is no corpus; give a LibriTTS"),
        ("none.jsonl", "no recordings"),
        ("all.jsonl", "x.wav cannot be read as a sound file"),
    ):
        err = run(capsys, model, corpus, "out")
        assert what in err and err.count("\n") == 1


def test_filters_of_cosyvoice2():
    keep = Filter()
    assert keep.reason_against(0.99) and keep.reason_against(60.1) and not keep.reason_against(60)
    assert keep.reason_against(2, 201) and keep.reason_against(2, 0) and not keep.reason_against(2, 200)
    assert keep.reason_against(1.5, 151) == "more text than there is time for" and not keep.reason_against(1.5, 150)
