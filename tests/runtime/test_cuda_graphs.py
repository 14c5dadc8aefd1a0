"""What is captured when, kept how long, and what happens when capturing fails."""

from __future__ import annotations

import pytest
import torch

from mamtra.runtime.cuda_graphs import GraphCache
from tests.rerun import FakeCuda, RefusingGraphs, Rerun


@pytest.fixture(autouse=True)
def inference(request):
    """What calls a cache is inference; training captures ahead."""
    with torch.set_grad_enabled("ahead" in request.node.name):
        yield


def double(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (2 * x,)


def test_the_second_call_is_captured_and_results_are_the_callers():
    cache, results = Rerun(), []
    for n in range(4):
        results += cache("double", double, [torch.full((3,), float(n))])
    assert (cache.eager, cache.captured, cache.replayed) == (1, 1, 3)
    assert torch.equal(torch.stack(results), 2 * torch.arange(4.0)[:, None].expand(4, 3))


def test_captured_in_one_mode_and_used_in_another():
    cache = Rerun()
    for mode in (torch.inference_mode, torch.inference_mode, torch.no_grad, torch.inference_mode):
        with mode():
            assert cache("double", double, [torch.ones(2)])[0].tolist() == [2, 2]
    assert cache.replayed == 3


def test_names_shapes_and_types_are_told_apart():
    cache = Rerun()
    two, three = torch.zeros(2), torch.zeros(3)
    for name, x in (("a", two), ("b", two), ("a", three), ("a", two.double())):
        cache(name, double, [x])
    assert cache.eager == 4 and cache.captured == 0


def test_arguments_of_several_types():
    def both(x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * n, n + 1

    cache = Rerun()
    for n in range(3):
        product, more = cache("both", both, [torch.ones(2), torch.tensor([n, n], dtype=torch.int64)])
        assert product.tolist() == [n, n] and more.tolist() == [n + 1, n + 1] and more.dtype == torch.int64


def test_the_least_recently_used_goes():
    cache = Rerun(capacity=2)
    for size in (1, 1, 2, 2, 1, 3, 3):
        cache("double", double, [torch.zeros(size)])
    assert (cache.captured, cache.count) == (3, 2)
    cache("double", double, [torch.zeros(1)])
    assert cache.replayed == 5
    cache("double", double, [torch.zeros(2)])
    assert cache.eager == 4
    cache.clear()
    assert cache.count == 0


def test_after_a_failed_capture_everything_runs_eagerly():
    cache = Rerun(backend=RefusingGraphs)
    cache("double", double, [torch.ones(2)])
    with pytest.warns(UserWarning, match="slower: operation not permitted when stream is capturing$"):
        assert cache("double", double, [torch.ones(2)])[0].tolist() == [2, 2]
    assert cache.failure
    for _ in range(3):
        assert cache("other", double, [torch.ones(2)])[0].tolist() == [2, 2]


def test_nothing_is_captured_on_a_cpu():
    cache = GraphCache("cpu")
    for _ in range(3):
        cache("double", double, [torch.ones(2)])
    assert cache.count == 0 and not cache._graphs


@pytest.mark.gpu
def test_a_failed_capture_leaves_the_device_usable():
    cache = GraphCache("cuda")

    def reads(x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x * x.sum().item(),)

    with torch.inference_mode():
        x = torch.ones(2, device="cuda")
        cache("reads", reads, [x])
        with pytest.warns(UserWarning, match="CUDA graphs are not used"):
            assert cache("reads", reads, [x])[0].tolist() == [2, 2]
        torch.cuda.empty_cache()
        assert cache("reads", reads, [x + 1])[0].tolist() == [8, 8]


def test_captures_share_a_pool_until_all_are_dropped(monkeypatch):
    fake = FakeCuda(monkeypatch)
    cache = GraphCache("cpu", backend=fake.backend)
    with torch.inference_mode():
        for size in (1, 1, 2, 2):
            cache("double", double, [torch.zeros(size)])
        cache.clear()
        for _ in range(2):
            cache("double", double, [torch.zeros(3)])
    begun = [("begin", (0, pool), "thread_local") for pool in (1, 1, 2)]
    assert fake.calls == [call for begin in begun for call in (begin, ("end",), ("replay",))]
    assert set(fake.priorities) == {-2}  # of the current stream: kernels of a graph keep that of their capture


def test_a_failed_capture_is_ended_everywhere(monkeypatch):
    fake, count = FakeCuda(monkeypatch), [0]
    cache = GraphCache("cpu", backend=fake.backend)

    def fails(x: torch.Tensor) -> tuple[torch.Tensor]:
        count[0] += 1
        if count[0] == 3:  # after a call that is eager and one for the handles of the thread
            fake.calls.append(("failed",))
            raise RuntimeError("a value was read")
        return (2 * x,)

    cache("fails", fails, [torch.ones(1)])
    with pytest.warns(UserWarning, match="slower: a value was read"):
        assert cache("fails", fails, [torch.ones(1)])[0].item() == 2
    assert fake.calls == [("begin", (0, 1), "thread_local"), ("failed",), ("end",), ("allocator", (0, 1))]


def test_a_capture_ahead_warms_up_and_leaves_the_state_as_it_was():
    cache, total = Rerun(capacity=None), torch.zeros(2)
    total.requires_grad_().grad = torch.zeros(2)

    def step(x: torch.Tensor) -> tuple[torch.Tensor]:
        (total * x).sum().backward()
        return (total.grad * 1,)

    cache.capture("step", step, [torch.ones(2)], restore=[total.grad])
    assert (cache.graphs.warmed_up, cache.captured, total.grad.tolist()) == (2, 1, [0, 0])
    for n in (1, 2):
        assert cache.replay("step", [torch.ones(2, dtype=torch.float64)])[0].tolist() == [n, n]
    assert cache.has("step", [torch.ones(2)]) and not cache.has("step", [torch.ones(3)])
    with pytest.raises(KeyError):
        cache.replay("step", [torch.ones(3)])


def test_warming_up_returns_memory_before_the_capture(monkeypatch):
    fake = FakeCuda(monkeypatch)
    cache = GraphCache("cpu", backend=fake.backend)
    cache.capture("double", double, [torch.zeros(1)])
    assert [call[0] for call in fake.calls] == ["synchronize", "empty_cache", "begin", "end"]
