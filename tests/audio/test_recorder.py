"""What is recorded when, kept how long, and what happens where recording fails."""

from __future__ import annotations

import pytest
import torch

from mamtra.audio.recorder import Recorder
from tests.audio.rerun import Refuses, Rerun


def double(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (2 * x,)


def test_the_second_call_is_recorded_and_results_are_the_callers():
    recorder, results = Rerun(), []
    for n in range(4):
        results += recorder("double", double, [torch.full((3,), float(n))])
    assert (recorder.plain, recorder.recorded, recorder.replayed) == (1, 1, 3)
    assert torch.equal(torch.stack(results), 2 * torch.arange(4.0)[:, None].expand(4, 3))


def test_recorded_in_one_mode_and_used_in_another():
    recorder = Rerun()
    for mode in (torch.inference_mode, torch.inference_mode, torch.no_grad, torch.inference_mode):
        with mode():
            assert recorder("double", double, [torch.ones(2)])[0].tolist() == [2, 2]
    assert recorder.replayed == 3


def test_names_shapes_and_types_are_told_apart():
    recorder = Rerun()
    two, three = torch.zeros(2), torch.zeros(3)
    for name, x in (("a", two), ("b", two), ("a", three), ("a", two.double())):
        recorder(name, double, [x])
    assert recorder.plain == 4 and recorder.recorded == 0


def test_arguments_of_several_types():
    def both(x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * n, n + 1

    recorder = Rerun()
    for n in range(3):
        product, more = recorder("both", both, [torch.ones(2), torch.tensor([n, n], dtype=torch.int64)])
        assert product.tolist() == [n, n] and more.tolist() == [n + 1, n + 1] and more.dtype == torch.int64


def test_those_used_longest_ago_go():
    recorder = Rerun(most=2)
    for size in (1, 1, 2, 2, 1, 3, 3):
        recorder("double", double, [torch.zeros(size)])
    assert (recorder.recorded, recorder.count) == (3, 2)
    recorder("double", double, [torch.zeros(1)])
    assert recorder.replayed == 5
    recorder("double", double, [torch.zeros(2)])
    assert recorder.plain == 4
    recorder.forget()
    assert recorder.count == 0


def test_where_recording_fails_all_runs_as_it_is():
    recorder = Refuses()
    recorder("double", double, [torch.ones(2)])
    with pytest.warns(UserWarning, match="slower: operation not permitted when stream is capturing$"):
        assert recorder("double", double, [torch.ones(2)])[0].tolist() == [2, 2]
    assert recorder.failure
    for _ in range(3):
        assert recorder("other", double, [torch.ones(2)])[0].tolist() == [2, 2]


def test_a_cpu_records_nothing():
    recorder = Recorder()
    for _ in range(3):
        recorder("double", double, [torch.ones(2)])
    assert recorder.count == 0 and not recorder._recordings


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_failed_capture_leaves_the_device_usable():
    recorder = Recorder()

    def reads(x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x * x.sum().item(),)

    with torch.inference_mode():
        x = torch.ones(2, device="cuda")
        recorder("reads", reads, [x])
        with pytest.warns(UserWarning, match="CUDA graphs are not used"):
            assert recorder("reads", reads, [x])[0].tolist() == [2, 2]
        assert recorder("reads", reads, [x + 1])[0].tolist() == [8, 8]
