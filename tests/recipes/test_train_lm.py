import json

import numpy as np
import torch
import train_lm
import yaml
from trained import load_network, read_metadata

from tests.factories import tiny_config

ROWS = 101
LENGTH = 1160


def test_a_teacher_is_trained_and_trained_on(tmp_path, monkeypatch):
    rng, lengths = np.random.default_rng(0), np.array([4] * (ROWS - 1) + [LENGTH])
    np.savez(
        tmp_path / "tokens.npz", speech=rng.integers(0, 81, lengths.sum()), speech_len=lengths,
        text=rng.integers(1, 50, 3 * ROWS), text_len=np.full(ROWS, 3),
        speaker=np.zeros(ROWS, int), speakers=np.array(["a"]),
        source=np.arange(ROWS) % 2, sources=np.array(["books", "long"]),
    )  # fmt: skip
    about = dict.fromkeys(("lr", "decay", "average", "concatenate_same_speaker"), 0.01) | {"seed": 2, "steps": 2}
    config = tiny_config("aa", 81).model_dump(mode="json")
    config.pop("layer_types")
    teacher = about | {"minutes": None, "token_noise": 0.5, "tokens_per_batch": 1280, "model": config}
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump({"teacher": teacher, "tokenizer": {"model": {"dims": 4}}}))
    out = tmp_path / "teacher.safetensors"

    def run(*words):
        places = {"config": "mini.yaml", "tokens": "tokens.npz", "out": out.name}
        monkeypatch.setattr("sys.argv", [
            "train_lm.py", *(word for name, file in places.items() for word in (f"--{name}", str(tmp_path / file))),
            "--device", "cpu", *words,
        ])  # fmt: skip
        train_lm.main()
        return load_network(out, "lm").llm_decoder.weight

    first, measured = run(), read_metadata(out)["measured"]
    assert set(measured) == {"books", "long"} and measured["books"] > 0
    out.rename(tmp_path / "first.safetensors")
    again = run("--resume", str(tmp_path / "first.safetensors"), "lr=0.0")
    torch.testing.assert_close(again, first)
    assert json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])["step"] == 0
