"""Training runs in processes of their own: killed ones end as if they had not been, and two share the work of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import mamtra
from mamtra.distill.checkpoints import checkpoints
from mamtra.distill.log import read_log
from mamtra.errors import MamTraError
from tests.distill import processes
from tests.distill.processes import finish
from tests.distill.runs import prepare, setting

SOURCE = str(Path(mamtra.__file__).parents[1])
RUN = {"precision": "float32", "device": "cpu", "log_every": 1, "loss_chunk": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("processes"))


def start(folder, config, *words, rank=0, **environment):
    path = folder / f"{Path(config.out).name}.yaml"
    path.write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    log = folder / f"{Path(config.out).name}-{rank}.log"
    return processes.start(["distill", str(path), *words], log, **environment), log


def weights(out):
    return load_file(Path(out) / "student" / "model.safetensors")


def test_a_killed_training_ends_with_the_same_weights(folder):
    run = {"steps": 16, "save_every": 2, "validate_every": 8, "keep": 3}
    whole, killed = (setting(folder, name, run={**RUN, **run}) for name in ("whole", "killed"))
    finish(*start(folder, whole))
    process, _ = start(folder, killed)
    while process.is_alive() and len(checkpoints(Path(killed.out))) < 2:
        time.sleep(0.003)
    process.kill()  # wherever it is then: in a step, in a checkpoint, in an evaluation
    process.join()
    assert checkpoints(Path(killed.out)) and not (Path(killed.out) / "student").exists()
    finish(*start(folder, killed, "--resume"))
    one, other = weights(whole.out), weights(killed.out)
    assert all(torch.equal(one[name], other[name]) for name in one)


def together(folder, config, *words):
    """Two processes, met as torchrun has them meet."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    both = [
        start(folder, config, *words, rank=rank, RANK=str(rank), LOCAL_RANK=str(rank), **group) for rank in range(2)
    ]
    for process in both:
        finish(*process)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def alone(folder):
    config = setting(folder, "alone", run=EIGHT, optimizer=CLIPPED)
    finish(*start(folder, config))
    return config


EIGHT = {**RUN, "steps": 8, "validate_every": 4, "save_every": 4}
CLIPPED = {"clip": 0.5}  # below the norms of this training, so that clipping counts


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_as_one(folder, alone, parallel):
    config = setting(folder, parallel, run={**EIGHT, "parallel": parallel}, optimizer=CLIPPED)
    together(folder, config)
    norms = [line["norm"] for line in read_log(Path(alone.out)) if line["kind"] == "train"]
    assert min(norms) > CLIPPED["clip"]
    for kind, names in (("train", ("loss", "ce", "kl", "emb", "norm")), ("validation", ("ce", "teacher_ce"))):
        one, two = ([line for line in read_log(Path(c.out)) if line["kind"] == kind] for c in (alone, config))
        assert len(one) == len(two) > 2
        for name in names:
            assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=2e-4)
    one, two = weights(alone.out), weights(config.out)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=2e-4)


def test_accelerate_starts_the_same_processes(folder, alone):
    pytest.importorskip("accelerate", reason="needs accelerate, which the package does not")
    config = setting(folder, "launched", run=EIGHT, optimizer=CLIPPED)
    path = folder / "launched.yaml"
    path.write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", free_port()]
    how += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", "mamtra", "distill", str(path)]
    variables = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    about = json.loads((Path(config.out) / "student" / "provenance.json").read_text())
    assert about["distillation"]["processes"] == 2
    one, two = ([line["loss"] for line in read_log(Path(c.out)) if line["kind"] == "train"] for c in (alone, config))
    assert two == pytest.approx(one, rel=2e-4)


def test_a_split_training_goes_on_whole(folder, alone):
    """A checkpoint does not say how many processes made it, or what each of them had.

    Measured at the end alone, when the teacher has run many times.
    """
    half = setting(
        folder, "handed", run={**EIGHT, "steps": 4, "validate_every": 0, "parallel": "fsdp"}, optimizer=CLIPPED
    )
    together(folder, half)
    rest = setting(folder, "handed", run=EIGHT, optimizer=CLIPPED)
    finish(*start(folder, rest, "--resume"))
    one, two = weights(alone.out), weights(rest.out)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"run": {**EIGHT, "parallel": "fsdp", "cuda_graph": True}}, "run.cuda_graph to false"),
        ({"run": {**EIGHT, "parallel": "fsdp", "compile": True}}, "run.compile to false"),
        ({"run": {**EIGHT, "parallel": "fsdp"}, "alignment": {"hidden_steps": 2}}, "alignment needs unsharded layers"),
    ],
)
def test_what_a_split_training_cannot_do(folder, sections, said):
    with pytest.raises(MamTraError, match=said):
        setting(folder, "refused", **sections)
