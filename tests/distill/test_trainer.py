"""Whole training runs of a tiny model: they learn, they can be interrupted, and they say what is wrong."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mamtra.checkpoints.model_files import read_generation
from mamtra.checkpoints.native import load_part
from mamtra.data.token_shards import MANIFEST, Utterance, write_corpus
from mamtra.distill.api import distill, open_trainer
from mamtra.distill.checkpoints import checkpoints, load_checkpoint
from mamtra.distill.log import read_log
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import read_json, write_json
from mamtra.runtime.locks import directory_lock
from tests.distill.runs import CODES, make_teacher, prepare, setting


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(folder):
    """A training from beginning to end."""
    return distill(setting(folder, "whole")).student


def weights(student: Path) -> dict[str, torch.Tensor]:
    return load_file(student / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_student_learns_and_is_a_model(folder, whole):
    student = load_part(whole, "lm")
    assert student.config.layer_types == ("full_attention", "linear_attention")
    lines = read_log(folder / "whole")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [0, 6, 12]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < 0.9 * losses[0]
    assert [path.name for path in checkpoints(folder / "whole")] == ["step-00000008", "step-00000012"]
    about = read_json(whole / "provenance.json")
    assert about["distillation"]["steps"] == 12 and about["plan"]["ratio"] == "1:1"
    assert about["distillation"]["validation"]["ce"] == lines[-2]["ce"]


def test_equal_settings_give_equal_weights_and_seeds_others(folder, whole):
    assert equal(weights(distill(setting(folder, "again")).student), weights(whole))
    assert not equal(weights(distill(setting(folder, "other", run={**BASE, "seed": 1})).student), weights(whole))


BASE = {"steps": 12, "precision": "float32", "device": "cpu", "log_every": 3, "validate_every": 6, "save_every": 4}


@pytest.mark.parametrize("step", [4, 8])
def test_interrupted_trainings_end_the_same(folder, whole, step):
    out = folder / f"cut{step}"
    config = setting(folder, out.name)

    def stop(line):
        if line["kind"] == "train" and line["step"] > step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_trainer(config, listener=stop).run()
    assert int(checkpoints(out)[-1].name[-8:]) == step
    with pytest.raises(MamTraError, match="--resume"):
        open_trainer(config)
    assert equal(weights(distill(config, resume=True).student), weights(whole))
    mine, theirs = (
        [{k: v for k, v in line.items() if k not in ("minutes", "tokens_per_second")} for line in read_log(run)]
        for run in (out, folder / "whole")
    )
    assert mine == theirs


def test_what_takes_long_or_is_lost_is_told(folder):
    config, notes = setting(folder, "told"), []

    def listen(line):
        notes.extend([line["text"]] if line["kind"] == "note" else [])

    trainer = open_trainer(config, resume=True, listener=listen)
    assert notes == [f"{folder / 'told'} holds no checkpoint, so training starts with the first step."]
    trainer._ticker = lambda step, steps: signal.raise_signal(signal.SIGINT)  # after step 1
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert "Validating before the first step." in notes and notes[-1].startswith(
        "Ending after step 2, which will be saved"
    )
    assert [path.name for path in checkpoints(folder / "told")] == ["step-00000002"]
    assert "note" not in {line["kind"] for line in read_log(folder / "told")}
    open_trainer(config, resume=True, listener=listen)
    assert notes[-1] == "Going on after step 2."
    open_trainer(setting(folder, "compiled", run={**BASE, "compile": True}), listener=listen)
    assert "set it to false" in notes[-1]


def test_other_settings_do_not_go_on(folder, whole):
    with pytest.raises(MamTraError, match=r"optimizer.lr 0.003, not 0.01"):
        open_trainer(setting(folder, "whole", optimizer={"lr": 0.01}), resume=True)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(folder, whole, monkeypatch):
    place = checkpoints(folder / "whole")[-1]
    monkeypatch.setattr("os.access", lambda path, mode: "optimizer" not in str(path))
    with pytest.raises(MamTraError, match=r"optimizer\.safetensors cannot be read: permission denied\."):
        load_checkpoint(place)


def test_damaged_checkpoints_are_named(folder, whole):
    shutil.copytree(folder / "whole", folder / "damaged")
    (folder / "damaged" / "checkpoints" / "step-00000012" / "student.safetensors").write_bytes(b"half")
    with pytest.raises(MamTraError, match="step-00000012 is damaged"):
        open_trainer(setting(folder, "damaged"), resume=True)


@pytest.mark.parametrize(
    "sections",
    [
        {
            "losses": {"skew_direction": "reverse", "emb_target": "all_hidden"},
            "batch": {"layout": "mixed", "concatenate_same_speaker": 0.5},
        },
        {"losses": {"skew_alpha": 0.0, "emb_target": "embedding"}, "batch": {"layout": "bistream", "token_noise": 0.1}},
        {"losses": {"logits_weight": 0.0, "emb_weight": 0.0}, "optimizer": {"name": "adamw", "weight_decay": 0.1}},
        {"optimizer": {"train": "mamba", "schedule": "cosine", "warmup": 0.3, "average": 0.0}},
    ],
    ids=["reverse", "plain", "ce", "mamba"],
)
def test_other_ways(folder, sections, tmp_path):
    run = {**BASE, "steps": 4, "validate_every": 0, "loss_chunk": 64}
    config = setting(folder, f"ways/{tmp_path.name}", run=run, **sections)
    place = distill(config).student
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
        config = setting(folder, name, run={**BASE, "steps": 4, "validate_every": 0, **more})
        found.append(weights(distill(config).student))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-3, atol=1e-5)


def test_accumulation_is_one_large_batch(folder):
    trainers = [
        open_trainer(
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
    members = [m for batch in small.setup.loader.position.step()[0] for m in batch.members]
    large.setup.loader.sampler._plan = (0, [large.setup.loader.sampler._batch(0, 0, 64, members)])
    small.setup.loader.position.restore({"epoch": 0, "number": 0})
    for trainer in trainers:
        for inputs in trainer.setup.loader.next_step().inputs:
            trainer.setup.train_step.add("train", inputs)
    torch.testing.assert_close(small.setup.optimiser.gradient, large.setup.optimiser.gradient, rtol=1e-3, atol=1e-4)


def test_a_cached_teacher_teaches_the_same(folder):
    losses = {"emb_target": "embedding"}
    kl = []
    for name, teacher in (("line", {}), ("cached", {"cache": str(folder / "cache"), "top_k": CODES + 3})):
        config = setting(
            folder, name, losses=losses, teacher={"model": str(folder / "teacher"), **teacher},
            run={**BASE, "steps": 4, "log_every": 1, "validate_every": 0},
        )  # fmt: skip
        distill(config)
        kl.append([line["kl"] for line in read_log(Path(config.out)) if line["kind"] == "train"])
    assert kl[0] == pytest.approx(kl[1], rel=2e-3)
    with pytest.raises(MamTraError, match="another top_k"):
        open_trainer(setting(folder, "few", losses=losses, teacher={"cache": str(folder / "cache"), "top_k": 5}))


def test_losses_that_are_no_numbers_stop_and_name_the_batch(folder):
    config = setting(folder, "nan")
    trainer = open_trainer(config)

    def spoil(line):
        if line["kind"] == "train" and line["step"] == 6:
            with torch.no_grad():
                trainer.setup.student.llm_decoder.bias[0] = float("nan")

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

    trainer = open_trainer(setting(folder, "oom"))
    monkeypatch.setattr(trainer.setup.train_step, "_objective", fail)
    with pytest.raises(MamTraError, match=r"lower batch.tokens \(now 200\)"):
        trainer.run()


def change_manifest(corpus, **changes):
    write_json(corpus / MANIFEST, read_json(corpus / MANIFEST) | changes)


def test_triton_needs_a_gpu(folder):
    with pytest.raises(MamTraError, match="use_triton"):
        open_trainer(setting(folder, "no", run={**BASE, "use_triton": True}))


def test_what_does_not_match_is_refused(folder, tmp_path):
    wide = make_teacher(tmp_path / "wide", hidden_size=48)
    with pytest.raises(MamTraError, match="hidden_size is 32 in the teacher and 48 in the student"):
        open_trainer(setting(folder, "no", student={"ratio": None, "model": str(wide)}))
    shutil.copytree(folder / "corpus", tmp_path / "corpus")
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    change_manifest(tmp_path / "corpus", speech_tokenizer="ab" * 8)
    write_json(
        tmp_path / "teacher/config.json", read_json(tmp_path / "teacher/config.json") | {"voice_space": "cd" * 8}
    )
    with pytest.raises(MamTraError, match="another speech tokenizer"):
        open_trainer(setting(tmp_path, "no"))
    change_manifest(tmp_path / "corpus", speech_tokenizer="", num_speech_tokens=99)
    with pytest.raises(MamTraError, match="99 speech tokens"):
        open_trainer(setting(tmp_path, "no"))
    rows = [Utterance(np.array([1]), np.zeros(0, np.int64))]
    names = {"speakers": ["a"], "sources": ["x"]}
    write_corpus(tmp_path / "corpus", rows, num_speech_tokens=CODES, text_vocab_size=50, **names)
    with pytest.raises(MamTraError, match="No utterance fits"):
        open_trainer(setting(tmp_path, "no", data={"validation": 0.0}))


def test_resuming_a_finished_training_logs_nothing_twice(folder, whole):
    shutil.copytree(folder / "whole", folder / "finished")
    before = read_log(folder / "finished")
    distill(setting(folder, "finished"), resume=True)
    after = read_log(folder / "finished")
    assert [(line["kind"], line["step"]) for line in after] == [(line["kind"], line["step"]) for line in before]


def test_ctrl_c_saves_the_step(folder, whole):
    """A signal within a step ends the training after it, with a checkpoint from which it ends with the same bits."""

    def stop(line):
        if line["kind"] == "train" and line["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    config = setting(folder, "interrupted")
    with pytest.raises(KeyboardInterrupt, match="step 6 is saved"):
        open_trainer(config, listener=stop).run()
    assert checkpoints(folder / "interrupted")[-1].name == "step-00000006"
    assert equal(weights(distill(config, resume=True).student), weights(whole))
    steps = [(line["kind"], line["step"]) for line in read_log(folder / "interrupted")]
    assert len(steps) == len(set(steps))


def test_two_trainings_do_not_share_a_folder(folder):
    with directory_lock(folder / "shared", "training"), pytest.raises(MamTraError, match="in use by another training"):
        distill(setting(folder, "shared"))


def test_logs_of_older_versions_are_refused(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"kind": "held_out", "step": 0, "ce": 1.0}\n')
    with pytest.raises(MamTraError, match="older version"):
        read_log(tmp_path)
