"""`mamtra batch --ray` gives the files of one process, on a Ray of this machine."""

from pathlib import Path

import torch

from tests.cli.test_batch import ROWS, run, write
from tests.cli.test_prepare_ray import cluster  # noqa: F401


def files(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.name != "batch.jsonl"}


def test_files_are_those_of_one_process(cluster, model, capsys):  # noqa: F811
    rows = [*ROWS, "{", {"id": "marks", "text": "?!"}, *({"text": f"Hello {'hello ' * i}."} for i in range(4))]
    words = write(rows), "--model", model
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the actors, so that sums are made in the same order
    alone, _ = run(capsys, words[0], "alone", *words[1:], status=2)
    torch.set_num_threads(before)
    spread, _ = run(capsys, words[0], "spread", *words[1:], "--ray", "local", "--workers", "2", status=2)
    assert files("alone") == files("spread") and len(files("alone")) == 7
    assert {**spread, "folder": "alone"} == alone | {"seconds": spread["seconds"]}
    Path("spread/hello.wav").unlink()
    again, _ = run(capsys, words[0], "spread", *words[1:], "--ray", "local", status=2)
    assert (again["made"], again["kept"]) == (1, 6) and files("alone") == files("spread")
