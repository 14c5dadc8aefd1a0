"""Commands in processes of their own, forked from one that has imported torch, which takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["mamtra.cli.app", "mamtra.distill.api", "mamtra.distill.sharding", "mamtra.paper.schedule"]
)


def start(words: list[str], log: Path, **environment: str) -> ForkServerProcess:
    """Begin a command with one thread; what it prints goes to a file."""
    process = SERVER.Process(target=_run, args=(words, str(log), environment))
    process.start()
    return process


def finish(process: ForkServerProcess, log: Path) -> None:
    """Wait for a command that is to succeed."""
    process.join(240)
    assert process.exitcode == 0, log.read_text()


def _run(words: list[str], log: str, environment: dict[str, str]) -> None:
    with open(log, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    import torch

    from mamtra.cli import main

    torch.set_num_threads(1)
    sys.exit(main(words))
