"""Staged alignment and learning on the student's own speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mamtra.conversion.options import TransferOptions
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.distill.alignment import attention_matrix, mixing_matrix
from mamtra.distill.api import distill, open_trainer
from mamtra.distill.log import read_log
from mamtra.distill.on_policy import sample_speech
from mamtra.models.layout import prompt
from mamtra.models.plan import LayerPlan
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops import mixer as mixer_op
from tests.distill.runs import make_teacher, prepare, setting
from tests.factories import tiny_parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("stages"))


@pytest.mark.parametrize("form", ["mamba2", "discrete"])
def test_mixing_matrices_are_what_mixers_do(form, monkeypatch):
    config = tiny_parts()["lm"].config.model_copy(update={"layer_types": ("full_attention",) * 2, "mamba_form": form})
    teacher = SpeechLM(config, torch.Generator().manual_seed(0))
    student, _ = convert_attention_to_mamba(teacher, LayerPlan.explicit(2, [0]), TransferOptions(conv_init="default"))
    mixer, hidden = student.model.layers[1].mamba, torch.randn(2, 20, 32, generator=torch.Generator().manual_seed(1))
    before_norm = []
    norm = mixer_op.gated_rms_norm
    monkeypatch.setattr(mixer_op, "gated_rms_norm", lambda y, *rest: before_norm.append(y) or norm(y, *rest))
    positions = Positions.from_zero(20, config, hidden.device)
    mixer(hidden, positions)
    _, xbc, _ = mixer.in_proj(hidden).split(mixer.in_sizes, -1)
    conv = mixer.conv1d(torch.nn.functional.pad(xbc.transpose(1, 2), (3, 0))).transpose(1, 2)
    x = (conv if form == "discrete" else torch.nn.functional.silu(conv)).split(mixer.conv_sizes, -1)[0]
    x = x.unflatten(-1, (-1, 16)).transpose(1, 2).repeat_interleave(2, 1)
    y = (mixing_matrix(mixer, hidden) @ x).transpose(1, 2).flatten(2)
    torch.testing.assert_close(y, before_norm[0], rtol=1e-3, atol=1e-4)


def test_attention_matrices_are_what_attention_does():
    attention, config = tiny_parts()["lm"].model.layers[0].self_attn, tiny_parts()["lm"].config
    hidden = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1))
    positions = Positions.from_zero(9, config, hidden.device)
    v = attention.v_proj(hidden).unflatten(-1, (-1, 16)).transpose(1, 2).repeat_interleave(2, 1)
    y = attention.o_proj((attention_matrix(attention, hidden, positions) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(y, attention(hidden, positions), rtol=1e-4, atol=1e-5)


def test_stages_move_mixers_alone_and_lower_their_losses(folder):
    config = setting(
        folder, "staged", alignment={"matrix_steps": 12, "hidden_steps": 12, "lr": 3e-3},
        optimizer={"name": "adamw", "weight_decay": 0.5, "average": 0.0},
        run={"steps": 3, "save_every": 24, "keep": 5, "validate_every": 0},
    )  # fmt: skip
    distill(config)
    lines = [line for line in read_log(Path(config.out)) if line["kind"] == "train"]
    for stage in ("matrix", "hidden"):
        values = [line[stage] for line in lines if stage in line]
        assert len(values) == 4 and values[-1] < 0.9 * values[0]
    assert "loss" in lines[-1] and "loss" not in lines[0]
    before = load_file(Path(config.out) / "initial" / "model.safetensors")
    after = load_file(Path(config.out) / "checkpoints" / "step-00000024" / "student.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".mamba." in name for name in changed)


def test_samples_are_those_of_the_model_one_by_one():
    lm = tiny_parts()["lm"].eval()
    texts = [np.arange(3, 9), np.arange(5, 8)]
    found = sample_speech(lm, texts, [12, 7], [0, 1], temperature=1e-4)
    for text, speech, most in zip(texts, found, (12, 7), strict=True):
        heard: list[int] = []
        while len(heard) < most:
            with torch.no_grad():
                kind, ids = prompt(text.tolist(), heard)
                logits = lm.logits(lm(lm.embed(kind, ids)))[0, -1]
            best = int(logits[: 6561 if not heard else None].argmax())
            if best >= 6561:
                break
            heard.append(best)
        assert speech.tolist() == heard and len(heard) >= 1


def test_samples_depend_on_their_own_seed_alone():
    lm = tiny_parts()["lm"].eval()
    texts = [np.arange(3, 9), np.arange(5, 8), np.arange(2, 12), np.arange(5, 8)]
    together = sample_speech(lm, texts, [20] * 4, [7, 8, 9, 10])
    again = sample_speech(lm, texts[::-1], [20] * 4, [10, 9, 8, 7])[::-1]
    assert all(np.array_equal(one, other) for one, other in zip(together, again, strict=True))
    assert not np.array_equal(together[1], together[3])


@pytest.mark.gpu
def test_samples_on_a_gpu_are_the_same_at_every_call():
    """As many rows as take the widest kernels; the model keeps its weights, and the next call sees a change of them."""
    lm = tiny_parts()["lm"].eval().cuda()
    texts = [np.arange(3, 4 + i % 9) for i in range(150)]
    calls = [sample_speech(lm, texts, [30] * 150, range(150)) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*calls, strict=True))
    assert len({tuple(row) for row in calls[0]}) > 100
    with torch.no_grad():
        lm.llm_decoder.bias[7] = 100.0
    assert set(np.concatenate(sample_speech(lm, texts[:2], [5, 5], [0, 1]))) == {7}


def test_learning_on_own_speech_resumes_exactly(folder):
    def settings(out):
        return setting(folder, out, on_policy={"fraction": 0.6}, run={"steps": 10, "validate_every": 0})

    whole = distill(settings("policy")).student
    lines = [line for line in read_log(folder / "policy") if line["kind"] == "train"]
    assert any("policy" in line for line in lines) and any("ce" in line for line in lines)

    def stop(line):
        if line["kind"] == "train" and line["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_trainer(settings("policy-cut"), listener=stop).run()
    again = distill(settings("policy-cut"), resume=True).student
    one, other = (load_file(place / "model.safetensors") for place in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_own_speech_brings_the_student_nearer(folder, tmp_path):
    """Learning on own speech alone lowers the divergence on it."""
    make_teacher(tmp_path / "teacher", seed=3)
    (tmp_path / "corpus").symlink_to(folder / "corpus")
    config = setting(
        tmp_path, "own", on_policy={"fraction": 1.0}, losses={"emb_weight": 0.0},
        run={"steps": 9, "log_every": 3, "validate_every": 0, "save_every": 0},
    )  # fmt: skip
    distill(config)
    values = [line["policy"] for line in read_log(Path(config.out)) if line["kind"] == "train"]
    assert values[-1] < 0.8 * values[0]
