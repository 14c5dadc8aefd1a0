"""A training that is killed between any two things that it writes, and resumed, leaves the log of one that was not."""

import shutil
import signal

import pytest

from mamtra.distill import trainer as module
from mamtra.distill.api import distill, open_trainer
from mamtra.distill.log import LOG, read_log
from mamtra.runtime.line_files import LineFile
from tests.distill.runs import prepare, setting

RUN = {"run": {"steps": 3, "log_every": 2, "validate_every": 2, "save_every": 2}}
WHOLE = [
    ("start", 0), ("validation", 0), ("train", 2), ("validation", 2), ("train", 3), ("validation", 3), ("end", 3),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("kills"))


@pytest.fixture
def states(folder, monkeypatch):
    """Copies of the folder "run" as a kill would leave it: before and after each write, and in the middle of a line."""
    kept = []

    def keep():
        copy = folder / f"killed{len(kept)}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "run", copy)
        kept.append(copy)
        return copy

    append, save = LineFile.append, module.save_checkpoint

    def append_and_keep(file, line):
        append(file, line)
        torn = keep() / LOG
        torn.write_bytes(torn.read_bytes()[:-9])
        keep()

    def save_and_keep(*arguments):
        save(*arguments)
        keep()

    monkeypatch.setattr(LineFile, "append", append_and_keep)
    monkeypatch.setattr(module, "save_checkpoint", save_and_keep)
    yield kept
    shutil.rmtree(folder / "run")


def check(folder, states, monkeypatch):
    copies = list(states)
    monkeypatch.undo()
    assert len(copies) > 3
    for copy in copies:
        distill(setting(folder, copy.name, **RUN), resume=True)
        assert [(line["kind"], line["step"]) for line in read_log(copy)] == WHOLE, copy.name


def test_killed_at_any_moment(folder, states, monkeypatch):
    distill(setting(folder, **RUN))
    check(folder, states, monkeypatch)


def test_killed_at_any_moment_after_ctrl_c_in_the_last_step(folder, states, monkeypatch):
    """The checkpoint of the last step is written before that step is validated."""

    def stop(line):
        if line["kind"] == "train" and line["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 3 is saved"):
        open_trainer(setting(folder, **RUN), listener=stop).run()
    states.clear()
    distill(setting(folder, **RUN), resume=True)
    check(folder, states, monkeypatch)
