"""The engine on a GPU: graphs, kernels and worker thread give the tokens of the plain model on a CPU."""

from __future__ import annotations

import copy
import random
import threading

import pytest
import torch

from mamtra.engine.engine import Engine
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.reference import generate_bistream
from mamtra.engine.request import Request, Unistream
from mamtra.engine.steps import sequence_step
from mamtra.errors import MamTraError
from mamtra.models.layout import SOS, TEXT
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM
from tests.engine.test_engine import counted, decided_lm, expected_of, request_of, some_requests

pytestmark = pytest.mark.gpu
GPUS = pytest.mark.parametrize(
    "device",
    [
        "cuda:0",
        pytest.param("cuda:1", marks=pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")),
    ],
)
LONG = LengthConfig(min_ratio=15)


@pytest.fixture(scope="module", params=[(16, "mamba2"), (16, "discrete"), (8, "mamba2")])
def lm(request) -> SpeechLM:
    """Heads of 16 are the smallest that the kernels take; smaller ones run in torch's own operations."""
    size, form = request.param
    return decided_lm(form, size)


def on_gpu(lm, device: str = "cuda:0", dtype: torch.dtype = torch.float32, **options) -> Engine:
    """An engine with a copy of the model."""
    settings = {"slots": 5, "capacity": 400, "prefill_chunk": 7, **options}
    return Engine(copy.deepcopy(lm).to(device, dtype), **settings)


@GPUS
@pytest.mark.parametrize("graphs", [True, False])
def test_tokens_are_those_of_the_plain_model(lm, device, graphs):
    """Clients in threads; streams join and leave, every fifth is cancelled on its way."""
    work, found = some_requests(40, 3), {}
    with on_gpu(lm, device, graphs=graphs) as engine:

        def client(start: int) -> None:
            for i in range(start, len(work), 8):
                stream = engine.submit(request_of(work[i], i))
                if i % 5 == 4:
                    next(stream, None)
                    stream.cancel()
                found[i] = stream, stream.result()

        threads = [threading.Thread(target=client, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(engine._batcher.scheduler.free) == list(range(5))
    for i, (stream, tokens) in found.items():
        expected = expected_of(lm, work[i], i)
        assert tokens == (expected[: len(tokens)] if stream.finish_reason == "cancelled" else expected), i


@GPUS
def test_text_that_arrives(lm, device):
    draw, ids = random.Random(1), [7, 3, 9, 1, 30, 2, 8, 5, 5, 1, 4]
    prompt = list(range(11)), [draw.randrange(30) for _ in range(30)]
    expected = list(generate_bistream(lm, iter(ids), *prompt, step=sequence_step(lm), sampler=counted(4)))
    with on_gpu(lm, device) as engine:
        stream = engine.submit(Request(Interleaved(*prompt, text_ids=iter(ids)), seed=4))
        others = [engine.submit(request_of(work, 1)) for work in some_requests(6, 1)]
        assert stream.result() == expected
        again = engine.submit(Request(Interleaved(*prompt, text_ids=iter(ids)), seed=4))
        assert again.result() == expected and len(engine._prefixes._kept) == 1
        assert all(other.result() is not None for other in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deterministic_tokens_do_not_depend_on_the_batch(lm, dtype):
    work = some_requests(12, 5)
    with on_gpu(lm, dtype=dtype, deterministic=True) as engine:
        together = [engine.submit(request_of(w, i)) for i, w in enumerate(work)]
        tokens = [stream.result() for stream in together]
        for i in reversed(range(len(work))):
            assert engine.submit(request_of(work[i], i)).result() == tokens[i]


@pytest.mark.parametrize("deterministic", [False, True])
def test_long_prompts_are_fed_by_graphs_chunk_by_chunk(lm, deterministic):
    draw = random.Random(2)
    work = [
        ([draw.randrange(40) for _ in range(4)], [draw.randrange(40) for _ in range(60)],
         [draw.randrange(30) for _ in range(draw.randint(100, 200))], False)
        for _ in range(12)
    ]  # fmt: skip
    expected = [expected_of(lm, one, i) for i, one in enumerate(work)]
    with on_gpu(lm, prefill_chunk=64, deterministic=deterministic) as engine:
        for _ in range(2):
            streams = [engine.submit(request_of(one, i)) for i, one in enumerate(work)]
            assert [stream.result() for stream in streams] == expected
        graphs = engine._batcher.held._prefill._graphs
        captured = {key[0][0] for key, graph in graphs._graphs.items() if graph is not None}
    assert not graphs.failure and {("next", 128), ("next", 256)} <= captured


@GPUS
def test_snapshots(lm, device):
    prompt, text = [3, 1, 4, 1, 5], [9, 2, 6]
    with on_gpu(lm, device) as engine:
        snapshot = engine.snapshot([(SOS, SOS)] + [(TEXT, i) for i in prompt])
        plain = engine.submit(Request(Unistream(text, prompt), seed=3)).result()
        for _ in range(3):
            started = engine.submit(Request(Unistream(text, prompt), seed=3, prefix=snapshot))
            assert started.result() == plain and len(plain) > 3


def test_a_row_that_is_not_finite_fails_alone(lm):
    texts = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    with on_gpu(lm) as engine:
        alone = [engine.submit(Request(Unistream(text, lengths=LONG), seed=i)).result() for i, text in enumerate(texts)]
        with engine._turns.pause(), torch.inference_mode():
            streams = [engine.submit(Request(Unistream(text, lengths=LONG), seed=i)) for i, text in enumerate(texts)]
            while not (decoding := engine._batcher.scheduler.decoding()):
                engine._batcher.turn()
            engine._batcher.held.pool.ssm[:, decoding[0].slot] = float("nan")
            failed = streams.index(decoding[0].stream)
        with pytest.raises(MamTraError, match="not finite"):
            streams[failed].result()
        assert all(streams[i].result() == alone[i] for i in range(4) if i != failed)
        assert engine.submit(Request(Unistream(texts[failed], lengths=LONG), seed=failed)).result() == alone[failed]


def test_what_does_not_fit_into_memory(lm):
    with pytest.raises(MamTraError, match=r"streams of 1000000 positions need .* GB are free: \d+ streams fit"):
        on_gpu(lm, slots=10**6, capacity=10**6)
    with on_gpu(lm) as engine:
        assert engine.submit(request_of(some_requests(1, 0)[0], 0)).result()


def test_memory_stays_flat(lm):
    with on_gpu(lm) as engine:
        sizes = []
        for round_ in range(4):
            for stream in [engine.submit(request_of(w, i)) for i, w in enumerate(some_requests(30, round_))]:
                stream.result()
            torch.cuda.synchronize()
            sizes.append(torch.cuda.memory_allocated())
    assert sizes[-1] == sizes[1]


@GPUS
def test_all_graphs_are_captured_beside_a_running_stream(lm, device):
    """Its tokens are what they would be, and no step or beginning captures anything later."""
    work = some_requests(6, 8)
    with on_gpu(lm, device) as engine:
        running = engine.submit(request_of(work[0], 0))
        next(running)
        engine.warm_up()
        slots = engine._batcher.held
        assert sorted(slots._step._graphs) == [1, 2, 4, 8]
        captured = slots._prefill._graphs.count
        assert captured and running.result() == expected_of(lm, work[0], 0)
        found = [engine.submit(request_of(w, i)) for i, w in enumerate(work)]
        assert [stream.result() for stream in found] == [expected_of(lm, w, i) for i, w in enumerate(work)]
        assert slots._prefill._graphs.count >= captured and sorted(slots._step._graphs) == [1, 2, 4, 8]
