import json
from pathlib import Path

import numpy as np
import torch
import train_student
from safetensors import safe_open
from safetensors.torch import save_file
from trained import load_network

from mamtra.distill.models import open_speech_lm, read_weights
from tests.distill.runs import CODES, make_teacher

SETTINGS = """
out: unused
teacher: {model: unused}
student: {ratio: 1:1}
data: {train: unused, validation: 0.2}
batch: {tokens: 200}
run: {steps: 3, precision: float32}
"""


def test_the_student_of_the_recipe_is_distilled_by_the_package(tmp_path):
    teacher = read_weights(open_speech_lm(make_teacher(tmp_path / "made")))
    meta = {"config": json.dumps(teacher.config.model_dump())}
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors", metadata=meta)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "tokens.npz", speech=rng.integers(0, CODES, 400), speech_len=np.full(20, 20),
        text=rng.integers(1, 50, 100), text_len=np.full(20, 5),
    )  # fmt: skip
    (tmp_path / "distill.yaml").write_text(SETTINGS)
    (tmp_path / "mini.yaml").write_text("student: {seed: 5}")
    names = {
        "settings": "distill.yaml",
        "config": "mini.yaml",
        "tokens": "tokens.npz",
        "teacher": "teacher.safetensors",
    }
    words = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    out: Path = tmp_path / "student.safetensors"
    train_student.main([*words, "--out", str(out), "--device", "cpu", "--", "run.steps=4"])
    student = load_network(out, "lm")
    assert student.config.layer_types == ("full_attention", "linear_attention")
    assert not torch.equal(student.llm_decoder.weight, teacher.llm_decoder.weight)
    with safe_open(out, "pt") as file:
        about = {name: json.loads(text) for name, text in file.metadata().items()}
    assert about["steps"] == 4 and about["measured"]["student"] > 0 and about["plan"]["strategy"] == "block-beg"
