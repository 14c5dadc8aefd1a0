"""Whole trainings of a tiny model: they learn, they can be interrupted, and they say what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mamtra.checkpoints.native import load_part, read_generation
from mamtra.data.token_shards import MANIFEST, Utterance, write_corpus
from mamtra.distill.checkpoints import checkpoints
from mamtra.distill.log import read_log
from mamtra.distill.trainer import Trainer, distill
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import read_json, write_json
from tests.distill.runs import CODES, make_teacher, prepare, setting


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(folder):
    """A training from beginning to end."""
    return distill(setting(folder, "whole"))


def weights(student: Path) -> dict[str, torch.Tensor]:
    return load_file(student / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_student_learns_and_is_a_model(folder, whole):
    student = load_part(whole, "lm")
    assert student.config.layer_types == ("full_attention", "linear_attention")
    lines = read_log(folder / "whole")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if line["kind"] == "held_out"] == [0, 6, 12]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < 0.9 * losses[0]
    assert [path.name for path in checkpoints(folder / "whole")] == ["step-00000008", "step-00000012"]
    about = read_json(whole / "provenance.json")
    assert about["distillation"]["steps"] == 12 and about["plan"]["ratio"] == "1:1"
    assert about["distillation"]["held_out"]["ce"] == lines[-2]["ce"]


def test_equal_settings_give_equal_weights_and_seeds_others(folder, whole):
    assert equal(weights(distill(setting(folder, "again"))), weights(whole))
    assert not equal(weights(distill(setting(folder, "other", run={**BASE, "seed": 1}))), weights(whole))


BASE = {"steps": 12, "precision": "float32", "device": "cpu", "log_every": 3, "evaluate_every": 6, "save_every": 4}


@pytest.mark.parametrize("step", [4, 8])
def test_interrupted_trainings_end_the_same(folder, whole, step):
    out = folder / f"cut{step}"
    config = setting(folder, out.name)

    def stop(line):
        if line["kind"] == "train" and line["step"] > step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(config, listener=stop).run()
    assert int(checkpoints(out)[-1].name[-8:]) == step
    with pytest.raises(MamTraError, match="--resume"):
        Trainer(config)
    assert equal(weights(distill(config, resume=True)), weights(whole))
    mine, theirs = (
        [{k: v for k, v in line.items() if k not in ("minutes", "tokens_per_second")} for line in read_log(run)]
        for run in (out, folder / "whole")
    )
    assert mine == theirs


def test_other_settings_do_not_go_on(folder, whole):
    with pytest.raises(MamTraError, match=r"optimizer.lr 0.003, not 0.01"):
        Trainer(setting(folder, "whole", optimizer={"lr": 0.01}), resume=True)


def test_damaged_checkpoints_are_named(folder, whole):
    shutil.copytree(folder / "whole", folder / "damaged")
    (folder / "damaged" / "checkpoints" / "step-00000012" / "student.safetensors").write_bytes(b"half")
    with pytest.raises(MamTraError, match="step-00000012 is damaged"):
        Trainer(setting(folder, "damaged"), resume=True)


@pytest.mark.parametrize(
    "sections",
    [
        {
            "losses": {"skew_direction": "reverse", "emb_target": "all_hidden"},
            "batch": {"layout": "mixed", "join": 0.5},
        },
        {"losses": {"skew_alpha": 0.0, "emb_target": "embedding"}, "batch": {"layout": "bistream", "disturbed": 0.1}},
        {"losses": {"logits_weight": 0.0, "emb_weight": 0.0}, "optimizer": {"name": "adamw", "weight_decay": 0.1}},
        {"optimizer": {"train": "mamba", "schedule": "cosine", "warmup": 0.3, "average": 0.0}},
    ],
    ids=["reverse", "plain", "ce", "mamba"],
)
def test_other_ways(folder, sections, tmp_path):
    run = {**BASE, "steps": 4, "evaluate_every": 0, "loss_chunk": 64}
    config = setting(folder, f"ways/{tmp_path.name}", run=run, **sections)
    place = distill(config)
    lines = [line for line in read_log(Path(config.out)) if line["kind"] == "train"]
    assert all(np.isfinite(line[name]) for line in lines for name in ("loss", "ce", "kl", "emb"))
    assert read_generation(place).bistream == (config.batch.layout != "unistream")
    changed = {n for n, w in weights(place).items() if not torch.equal(w, weights(Path(config.out) / "initial")[n])}
    assert changed and (config.optimizer.train == "all" or all(".mamba." in name for name in changed))


def test_gradient_checkpointing_and_chunks_change_nothing_but_memory(folder):
    found = []
    for name, more in (
        ("plain", {"loss_chunk": 10_000}),
        ("spare", {"gradient_checkpointing": True, "loss_chunk": 32}),
    ):
        config = setting(folder, name, run={**BASE, "steps": 4, "evaluate_every": 0, **more})
        found.append(weights(distill(config)))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-3, atol=1e-5)


def test_accumulation_is_one_large_batch(folder):
    trainers = [
        Trainer(
            setting(
                folder,
                f"sum{n}",
                batch={"tokens": tokens, "accumulation": n, "lengths": (64,)},
                losses={"emb_weight": 0.0},
            )
        )  # a mean over positions, the others over targets
        for tokens, n in ((128, 2), (256, 1))
    ]
    small, large = trainers
    members = [m for batch in small.feed.position.step()[0] for m in batch.members]
    large.feed.sampler._plan = (0, [large.feed.sampler._batch(0, 0, 64, members)])
    small.feed.position.restore({"epoch": 0, "number": 0})
    for trainer in trainers:
        for inputs in trainer.feed.next_share().inputs:
            trainer.gradients.add("train", inputs)
    torch.testing.assert_close(small.optimiser.gradient, large.optimiser.gradient, rtol=1e-3, atol=1e-4)


def test_a_cached_teacher_teaches_the_same(folder):
    losses = {"emb_target": "embedding"}
    kl = []
    for name, teacher in (("line", {}), ("cached", {"cache": str(folder / "cache"), "top_k": CODES + 3})):
        config = setting(
            folder, name, losses=losses, teacher={"model": str(folder / "teacher"), **teacher},
            run={**BASE, "steps": 4, "log_every": 1, "evaluate_every": 0},
        )  # fmt: skip
        distill(config)
        kl.append([line["kl"] for line in read_log(Path(config.out)) if line["kind"] == "train"])
    assert kl[0] == pytest.approx(kl[1], rel=2e-3)
    with pytest.raises(MamTraError, match="another top_k"):
        Trainer(setting(folder, "few", losses=losses, teacher={"cache": str(folder / "cache"), "top_k": 5}))


def test_losses_that_are_no_numbers_stop_and_name_the_batch(folder):
    config = setting(folder, "nan")
    trainer = Trainer(config)

    def spoil(line):
        if line["kind"] == "train" and line["step"] == 6:
            with torch.no_grad():
                trainer.student.llm_decoder.bias[0] = float("nan")

    trainer._listener = spoil
    with pytest.raises(MamTraError, match=r"step 7: epoch 1 batch \d+ \(utterances .*step-00000004 is the last good"):
        trainer.run()
    good = load_file(checkpoints(Path(config.out))[-1] / "student.safetensors")
    assert all(torch.isfinite(w).all() for w in good.values())


def test_full_disks_keep_the_last_checkpoint(folder, monkeypatch):
    config = setting(folder, "full")
    saves = []

    def save(tensors, path):
        saves.append(path)
        if len(saves) > 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        torch_save(tensors, path)

    from mamtra.distill import checkpoints as module

    torch_save = module.save_file
    monkeypatch.setattr(module, "save_file", save)
    with pytest.raises(MamTraError, match=r"disk of .* is full: a checkpoint needs 0\.00 GB"):
        distill(config)
    assert [path.name for path in (folder / "full" / "checkpoints").iterdir()] == ["step-00000004"]


def test_out_of_memory_says_what_to_lower(folder, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("no more")

    trainer = Trainer(setting(folder, "oom"))
    monkeypatch.setattr(trainer.gradients, "_objective", fail)
    with pytest.raises(MamTraError, match=r"lower batch.tokens \(now 200\)"):
        trainer.run()


def change_manifest(corpus, **changes):
    write_json(corpus / MANIFEST, read_json(corpus / MANIFEST) | changes)


def test_kernels_need_a_graphics_card(folder):
    with pytest.raises(MamTraError, match="kernels"):
        Trainer(setting(folder, "no", run={**BASE, "kernels": True}))


def test_what_does_not_match_is_refused(folder, tmp_path):
    wide = make_teacher(tmp_path / "wide", hidden_size=48)
    with pytest.raises(MamTraError, match="hidden_size is 32 in the teacher and 48 in the student"):
        Trainer(setting(folder, "no", student={"ratio": None, "model": str(wide)}))
    shutil.copytree(folder / "corpus", tmp_path / "corpus")
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    change_manifest(tmp_path / "corpus", speech_tokenizer="ab" * 8)
    write_json(
        tmp_path / "teacher/config.json", read_json(tmp_path / "teacher/config.json") | {"voice_space": "cd" * 8}
    )
    with pytest.raises(MamTraError, match="another speech tokenizer"):
        Trainer(setting(tmp_path, "no"))
    change_manifest(tmp_path / "corpus", speech_tokenizer="", num_speech_tokens=99)
    with pytest.raises(MamTraError, match="99 speech codes"):
        Trainer(setting(tmp_path, "no"))
    rows = [Utterance(np.array([1]), np.zeros(0, np.int64))]
    names = {"speakers": ["a"], "sources": ["x"]}
    write_corpus(tmp_path / "corpus", rows, num_speech_tokens=CODES, text_vocab_size=50, **names)
    with pytest.raises(MamTraError, match="No utterance fits"):
        Trainer(setting(tmp_path, "no", data={"held_out": 0.0}))
