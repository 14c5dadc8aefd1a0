"""What is recorded when, kept how long, and what happens where recording fails."""

from __future__ import annotations

import contextlib

import pytest
import torch

from mamtra.runtime.cuda_graphs import Recorder
from tests.rerun import Refuses, Rerun


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


@pytest.mark.gpu
def test_a_failed_capture_leaves_the_device_usable():
    recorder = Recorder()

    def reads(x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x * x.sum().item(),)

    with torch.inference_mode():
        x = torch.ones(2, device="cuda")
        recorder("reads", reads, [x])
        with pytest.warns(UserWarning, match="CUDA graphs are not used"):
            assert recorder("reads", reads, [x])[0].tolist() == [2, 2]
        torch.cuda.empty_cache()
        assert recorder("reads", reads, [x + 1])[0].tolist() == [8, 8]


class FakeCuda:
    """Stands in for what a recorder asks of CUDA, and writes down in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple] = []
        handles = iter(range(1, 99))
        fake = self

        class Graph:
            def capture_begin(self, pool, capture_error_mode):
                assert not torch.is_inference_mode_enabled()
                fake.calls.append(("begin", pool, capture_error_mode))

            def capture_end(self):
                fake.calls.append(("end",))
                if fake.calls[-2:-1] == [("failed",)]:
                    raise RuntimeError("capture was invalidated")

            def replay(self):
                fake.calls.append(("replay",))

        class Stream:
            def __init__(self, device=None):
                pass

            def wait_stream(self, other):
                pass

        for name, value in {
            "CUDAGraph": Graph,
            "Stream": Stream,
            "current_stream": Stream,
            "stream": lambda stream: contextlib.nullcontext(),
            "graph_pool_handle": lambda: (0, next(handles)),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        ended = lambda device, pool: self.calls.append(("allocator", pool))  # noqa: E731
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", ended)
        monkeypatch.setattr(Recorder, "_can_record", lambda *_: True)


def test_captures_share_a_pool_until_all_are_forgotten(monkeypatch):
    fake, recorder = FakeCuda(monkeypatch), Recorder()
    with torch.inference_mode():
        for size in (1, 1, 2, 2):
            recorder("double", double, [torch.zeros(size)])
        recorder.forget()
        for _ in range(2):
            recorder("double", double, [torch.zeros(3)])
    begun = [("begin", (0, pool), "thread_local") for pool in (1, 1, 2)]
    assert fake.calls == [call for begin in begun for call in (begin, ("end",), ("replay",))]


def test_a_failed_capture_is_ended_everywhere(monkeypatch):
    fake, recorder, count = FakeCuda(monkeypatch), Recorder(), [0]

    def fails(x: torch.Tensor) -> tuple[torch.Tensor]:
        count[0] += 1
        if count[0] == 2:
            fake.calls.append(("failed",))
            raise RuntimeError("a value was read")
        return (2 * x,)

    recorder("fails", fails, [torch.ones(1)])
    with pytest.warns(UserWarning, match="slower: a value was read"):
        assert recorder("fails", fails, [torch.ones(1)])[0].item() == 2
    assert fake.calls == [("begin", (0, 1), "thread_local"), ("failed",), ("end",), ("allocator", (0, 1))]
