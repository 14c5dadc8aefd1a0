import json

import tokenizer_probe
import torch
from safetensors.torch import save_file

FOUND = {
    "new_speakers": {"utterances": 40, "phone_errors_percent": 30.0, "pitch_correlation": 0.5, "pitch_error_semitones": 2.0},
    "seen_speakers": {
        "utterances": 60, "phone_errors_percent": 20.0, "pitch_correlation": 0.6, "pitch_error_semitones": 1.5,
        "speaker_named_percent": 41.0,
    },
}  # fmt: skip


def test_a_page_of_probe_and_training(tmp_path, capsys):
    (tmp_path / "probe.json").write_text(json.dumps({"old": FOUND}))
    meta = {"steps": "7", "minutes": "0.50", "hours": "1.25", "measured": json.dumps({"bits_per_token": 11.5})}
    save_file({"x": torch.zeros(1)}, tmp_path / "old.safetensors", metadata=meta)
    tokenizer_probe.benchmark(
        "tokenizer_probe", "", tokenizer_probe.measure, tokenizer_probe.render, tokenizer_probe.options,
        ["--probe", str(tmp_path / "probe.json"), "--trained", f"old={tmp_path / 'old.safetensors'}", "--about", "Tried.",
         "--out", str(tmp_path / "page.json")],
    )  # fmt: skip
    page = (tmp_path / "page.md").read_text()
    assert "| old | 40 | 30.0 | 0.500 | 2.00 |" in page
    assert "| old | 60 | 20.0 | 0.600 | 1.50 | 41.0 |" in page
    assert "| old | 7 | 0.50 | 1.25 | 11.50 |" in page
