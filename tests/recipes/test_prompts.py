"""Voices and the list of recordings for the distillation of the flow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import prompts
import pytest

from mamtra.voices.voice import Voice
from tests.factories import reference, tiny_model


def test_voices_of_every_speaker_and_a_list_of_all_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source, column in (("kokoro", "voice"), ("real", "speaker")):
        (tmp_path / source).mkdir()
        rows = [f"path\t{column}\tseconds\ttext"]
        for name, seconds in (("a", 6.0), ("b", 4.0), ("c", 1.0)):
            reference(tmp_path / source / f"{name}.wav", seconds)
            rows.append(f"{name}.wav\t{source}-{name}\t{seconds}\thello there")
        (tmp_path / source / "metadata.tsv").write_text("\n".join(rows) + "\n")
    model = tiny_model(tmp_path / "model")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["prompts.py", "--data", str(tmp_path), "--out", str(out), "--model", str(model)])
    prompts.main()
    listed = [json.loads(line) for line in (out / "recordings.jsonl").read_text().splitlines()]
    assert len(listed) == 6 and all(Path(one["audio"]).is_file() for one in listed)
    made = {path.stem: Voice.load(path) for path in (out / "voices").iterdir()}
    assert set(made) == {"kokoro-a-0", "kokoro-b-0", "real-a-0", "real-b-0"}  # a second is too short
    assert all(1 <= voice.seconds <= prompts.LONGEST + 0.1 for voice in made.values())
    assert {path.name for path in out.iterdir()} == {"recordings.jsonl", "voices"}
