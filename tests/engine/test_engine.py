"""The engine against the plain model, token for token, alone and among others that come and go; and its manners."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from functools import partial
from itertools import groupby

import pytest
import torch

from mamtra.engine import prefixes
from mamtra.engine.decode_weights import DecodeWeights
from mamtra.engine.engine import Engine
from mamtra.engine.input_table import InputTable
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.reference import generate, generate_bistream
from mamtra.engine.request import Request, Sampling, Unistream
from mamtra.engine.sampling import greedy
from mamtra.engine.slots import Fed
from mamtra.engine.state_pool import StatePool, stream_bytes
from mamtra.engine.steps import sequence_step
from mamtra.engine.turns import WorkerTurns
from mamtra.errors import MamTraError
from mamtra.models.layout import PAD, SOS, SPEECH, TASK, TEXT
from mamtra.models.sampling_config import GuardConfig, LengthConfig
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.philox import philox_uniform_naive
from tests.factories import small_config
from tests.rerun import Rerun

HELD = pytest.mark.parametrize("held", ["device", "host"])
"""Slots of a GPU, which a CPU can run too, and those of other devices."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Calls this small gain nothing from a second one, and wait long for it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decided_lm(form: str, size: int = 8) -> SpeechLM:
    """Heads of `size`, and distributions that are neither flat nor a single id."""
    config = small_config("ama", hidden_size=4 * size, head_dim=size, mamba_form=form)
    lm = SpeechLM(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    for name, parameter in lm.named_parameters():
        if any(part in name for part in ("proj", "decoder", "embed")):
            parameter.mul_(8 if size == 8 else 6)
    lm.llm_decoder.bias[30:] = torch.tensor([-2.0, -100.0, 0.0])
    return lm


@pytest.fixture(scope="module", params=["mamba2", "discrete"])
def lm(request) -> SpeechLM:
    return decided_lm(request.param)


def open_engine(lm: SpeechLM, held: str = "device", **changes) -> Engine:
    """An engine with the slots of a GPU or those of other devices."""
    settings = {"slots": 5, "capacity": 400, "prefill_chunk": 7, "deterministic": False if held == "device" else None}
    return Engine(lm, **{**settings, **changes})


def counted(seed: int):
    """Repetition-aware sampling of one row with the engine's random numbers, written out."""

    def sample(logits, history, generator=None):
        first, second = philox_uniform_naive(seed, len(history))
        kept, ids = torch.softmax(logits, -1).sort(descending=True, stable=True)
        count = 1
        while count < 25 and kept[:count].sum() < 0.8:
            count += 1
        running = kept[:count].cumsum(0)
        token = int(ids[min(int((running <= first * running[-1]).sum()), count - 1)])
        if list(history[-10:]).count(token):
            running = torch.softmax(logits.index_fill(0, torch.tensor(token), float("-inf")), -1).cumsum(0)
            token = int((running <= second * running[-1]).sum())
        return token

    return sample


def some_requests(count: int, seed: int) -> list[tuple[list[int], list[int], list[int], bool]]:
    draw = random.Random(seed)

    def ids(most: int, below: int, least: int = 0) -> list[int]:
        return [draw.randrange(below) for _ in range(draw.randint(least, most))]

    return [(ids(8, 40, 1), ids(6, 40), ids(20, 30), draw.random() < 0.4) for _ in range(count)]


def request_of(work, seed: int) -> Request:
    return Request(Unistream(*work[:3]), seed=seed, sampling=Sampling(greedy=work[3]))


def sampling_of(held: str, greedily: bool, seed: int) -> dict:
    """Options of the plain loops that give the engine's tokens."""
    if greedily:
        return {"sampler": greedy}
    if held == "device":
        return {"sampler": counted(seed)}
    return {"generator": torch.Generator().manual_seed(seed)}


def expected_of(lm: SpeechLM, work, seed: int, held: str = "device") -> list[int]:
    return list(generate(lm, *work[:3], step=sequence_step(lm), **sampling_of(held, work[3], seed)))


def run(engine: Engine) -> None:
    while engine._batcher.turn():
        pass


@HELD
@pytest.mark.parametrize("seed", range(2))
def test_tokens_are_those_of_the_plain_model(lm, seed, held):
    """Streams join at random, some are cancelled; every one has the tokens that it has alone."""
    draw, work = random.Random(seed), some_requests(60, seed)
    engine, streams = open_engine(lm, held, prefill_chunk=draw.randint(1, 30)), []
    while len(streams) < len(work) or any(s.finish_reason is None for s in streams):
        if len(streams) < len(work) and draw.random() < 0.3:
            streams.append(engine.submit(request_of(work[len(streams)], len(streams))))
        if streams and draw.random() < 0.02:
            draw.choice(streams).cancel()
        engine._batcher.turn()
    for i, stream in enumerate(streams):
        tokens = expected_of(lm, work[i], i, held)
        if stream.finish_reason == "cancelled":
            assert stream.tokens == tokens[: len(stream.tokens)]
        else:
            assert stream.tokens == tokens
            assert stream.finish_reason == ("length" if len(tokens) == 20 * len(work[i][0]) else "eos")
    assert sorted(engine._batcher.scheduler.free) == list(range(5)) and not engine._batcher.scheduler.running


@HELD
@pytest.mark.parametrize("seed", range(10))
def test_text_that_arrives_while_tokens_are_made(lm, seed, held):
    draw = random.Random(seed)
    text = [draw.randrange(40) for _ in range(draw.randint(1, 17))]
    prompt = (
        [draw.randrange(40) for _ in range(draw.randint(0, 6))],
        [draw.randrange(30) for _ in range(draw.randint(0, 40))],
    )
    plain = generate_bistream(lm, iter(text), *prompt, step=sequence_step(lm), **sampling_of(held, False, seed))
    tokens = list(plain)
    engine, layout = open_engine(lm, held, capacity=700), Interleaved(*prompt)
    stream = engine.submit(Request(layout, seed=seed))
    others = [engine.submit(request_of(w, 1)) for w in some_requests(6, seed)]
    arrived = 0
    while stream.finish_reason is None:
        if arrived == len(text):
            layout.end()
        elif draw.random() < 0.4:
            layout.push(text[arrived : arrived + 1])
            arrived += 1
        engine._batcher.turn()
    assert (stream.tokens, stream.finish_reason) == (tokens, plain.finish_reason)
    run(engine)
    assert all(other.finish_reason for other in others)


def test_deterministic_tokens_do_not_depend_on_the_batch(lm):
    work = some_requests(12, 5)
    engine = open_engine(lm, "host")
    together = [engine.submit(request_of(w, i)) for i, w in enumerate(work)]
    run(engine)
    for i in reversed(range(len(work))):
        alone = engine.submit(request_of(work[i], i))
        run(engine)
        assert alone.tokens == together[i].tokens


@pytest.mark.parametrize(("chunk", "count", "capacity"), [(1, 20, 400), (3, 20, 22), (64, 150, 400), (64, 150, 152)])
def test_a_prefill_in_chunks_leaves_the_same_state(lm, chunk, count, capacity):
    inputs = [(SOS, SOS)] + [(TEXT, i % 40) for i in range(count)]
    engine = open_engine(lm, capacity=capacity)
    slot = engine._batcher.scheduler.free[-1]
    with torch.inference_mode():
        whole = engine.snapshot(inputs)
        engine._batcher.held.pool.clear(torch.tensor([slot]))
        for start in range(0, len(inputs), chunk):
            engine._batcher.held.feed([Fed(slot, start, inputs[start : start + chunk])])
        parts = engine._batcher.held.pool.snapshot(slot, len(inputs))
    read = [
        i for i in range(whole.conv.shape[1]) if i != len(inputs) % whole.conv.shape[1]
    ]  # the other is written next
    pairs = (parts.kv, whole.kv), (parts.conv[:, read], whole.conv[:, read]), (parts.ssm, whole.ssm)
    for mine, expected in pairs:
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


def test_chunks_leave_the_same_state_through_graphs(lm):
    """Also at the call that captures, where the function runs twice."""
    inputs = [(SOS, SOS)] + [(TEXT, i % 40) for i in range(190)]
    held = open_engine(lm)._batcher.held
    held._prefill._graphs = graphs = Rerun()
    with torch.inference_mode():
        for slot in range(4):
            held.pool.clear(torch.tensor([slot]))
            for start in range(0, len(inputs), 32):
                held.feed([Fed(slot, start, inputs[start : start + 32])])
        assert graphs.captured == 4 and graphs.replayed > 12
        first, *others = (held.pool.snapshot(slot, len(inputs)) for slot in range(4))
    for other in others:
        read = [i for i in range(4) if i != len(inputs) % 4]
        for mine, expected in (
            (other.kv, first.kv),
            (other.conv[:, read], first.conv[:, read]),
            (other.ssm, first.ssm),
        ):
            torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("capacity", [400, 30])
def test_streams_that_begin_together_have_the_states_that_they_have_alone(lm, capacity):
    held = open_engine(lm, capacity=capacity)._batcher.held
    inputs = [[(SOS, SOS)] + [(TEXT, i % 40) for i in range(count)] for count in (20, 1, 0, 7)]
    with torch.inference_mode():
        together = [Fed(slot, 0, given) for slot, given in enumerate(inputs)]
        held.feed(together)
        found = [held.pool.snapshot(slot, len(given)) for slot, _, given in together]
        for slot, _, given in together:
            assert held.pool.lengths[slot] == len(given)
            held.pool.clear(torch.tensor([slot]))
            held.feed([Fed(slot, 0, given)])
        for (slot, _, given), mine in zip(together, found, strict=True):
            alone = held.pool.snapshot(slot, len(given))
            read = [i for i in range(alone.conv.shape[1]) if i != len(given) % alone.conv.shape[1]]
            pairs = (mine.kv, alone.kv), (mine.conv[:, read], alone.conv[:, read]), (mine.ssm, alone.ssm)
            for ours, expected in pairs:
                torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_inputs_are_embedded_as_the_model_does_it(lm):
    rows = [[(SOS, SOS), (TEXT, 7), (TEXT, 39), (TASK, TASK), (SPEECH, 3), (SPEECH, 31)], [], [(SPEECH, 0), (PAD, 0)]]
    kind, ids = torch.tensor([row + [(PAD, 0)] * (8 - len(row)) for row in rows]).unbind(2)
    for chosen in (rows, rows[1:]):  # without any text too
        assert torch.equal(InputTable(lm)(chosen, 8), lm.embed(kind, ids)[-len(chosen) :])


@HELD
def test_snapshots(lm, held):
    engine = open_engine(lm, held)
    prompt, text = [3, 1, 4, 1, 5], [9, 2, 6]
    snapshot = engine.snapshot([(SOS, SOS)] + [(TEXT, i) for i in prompt])
    plain = engine.submit(Request(Unistream(text, prompt), seed=3))
    started = engine.submit(Request(Unistream(text, prompt), seed=3, prefix=snapshot))
    run(engine)
    assert started.tokens == plain.tokens and snapshot.length == 6
    with pytest.raises(MamTraError, match="6 inputs, but the request begins with no more than 5"):
        engine.submit(Request(Unistream([1, 2, 3]), prefix=snapshot))
    other = SpeechLM(lm.config, torch.Generator().manual_seed(1)).eval().requires_grad_(False)
    with pytest.raises(MamTraError, match="another model"):
        open_engine(other, held).submit(Request(Unistream(text), prefix=snapshot))
    with pytest.raises(MamTraError, match="another model"):
        open_engine(lm, "host" if held == "device" else "device").submit(Request(Unistream(text), prefix=snapshot))


@HELD
@pytest.mark.parametrize(("texts", "speeches"), [(12, 40), (17, 30), (17, 31), (3, 20), (4, 0)])
def test_the_prompt_of_a_voice_is_fed_once(lm, held, texts, speeches, monkeypatch):
    """Where it is restored for later streams, they have the tokens that they have without."""
    monkeypatch.setattr(prefixes, "LEAST", 8)
    prompt = [i % 40 for i in range(texts)], [i % 30 for i in range(speeches)]
    engine = open_engine(lm, held, capacity=700)
    for seed in range(6):
        text = [(seed + i) % 40 for i in range(3 * seed)]
        plain = generate_bistream(lm, iter(text), *prompt, step=sequence_step(lm), **sampling_of(held, False, seed))
        stream = engine.submit(Request(Interleaved(*prompt, text_ids=iter(text)), seed=seed))
        assert stream.result() == list(plain)
    kept = [snapshot.length for snapshot in engine._prefixes._kept.values()]
    chunks = min(texts // 5, -(-speeches // 15))
    known = sum(min(20, 5 + speeches - 15 * i) for i in range(chunks))
    assert kept == ([known] if held == "device" and known else [])


def test_snapshots_of_prompts_are_bounded(lm):
    engine = open_engine(lm, capacity=700)
    size = engine.snapshot([(SOS, SOS)] * 40).bytes
    kept = prefixes.Prefixes(limit=int(2.5 * size))
    made = [kept.find([(SOS, SOS)] * 39 + [(TEXT, i)], engine.snapshot) for i in (1, 2, 1, 3, 1)]
    assert made[0] is made[2] is made[4] and len(kept._kept) == 2
    assert kept.find([(SOS, SOS)], engine.snapshot) is None


@HELD
def test_a_row_that_is_not_finite_fails_alone(lm, held):
    engine = open_engine(lm, held)
    texts = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    alone = []
    for i, text in enumerate(texts):
        alone.append(engine.submit(Request(Unistream(text, lengths=LengthConfig(min_ratio=10)), seed=i)))
        run(engine)
    streams = [
        engine.submit(Request(Unistream(text, lengths=LengthConfig(min_ratio=10)), seed=i))
        for i, text in enumerate(texts)
    ]
    while not (decoding := engine._batcher.scheduler.decoding()):
        engine._batcher.turn()
    broken = decoding[0]
    failed = streams.index(broken.stream)
    with torch.inference_mode():
        if held == "device":
            engine._batcher.held.pool.ssm[:, broken.slot] = float("nan")
        else:
            engine._batcher.held._streams[broken.slot].state.layers[1].ssm.fill_(float("nan"))
    run(engine)
    assert streams[failed].finish_reason == "error"
    with pytest.raises(MamTraError, match="not finite"):
        streams[failed].result()
    assert all(streams[i].result() == alone[i].tokens for i in range(4) if i != failed)
    again = engine.submit(Request(Unistream(texts[failed], lengths=LengthConfig(min_ratio=10)), seed=failed))
    run(engine)
    assert again.tokens == alone[failed].tokens, "the slot is as good as new"


def test_what_does_not_fit_is_refused(lm):
    engine = open_engine(lm, capacity=50, most_waiting=2)
    with pytest.raises(MamTraError, match=r"5 positions .* at most 60 tokens, but a stream of this engine has 50"):
        engine.submit(Request(Unistream([1, 2, 3])))
    for _ in range(2):
        engine.submit(Request(Unistream([1, 2])))
    with pytest.raises(MamTraError, match="2 requests wait already"):
        engine.submit(Request(Unistream([1, 2])))
    for kind in ("device", "host"):
        with pytest.raises(MamTraError, match="at least one stream"):
            open_engine(lm, kind, slots=0)
        with pytest.raises(MamTraError, match="0 to 32"):
            open_engine(lm, kind, silent_ids=(33,))
    with pytest.raises(
        MamTraError,
        match=r"10000000 streams of 10000000 positions need .* GB of memory, but .* GB are free: \d+ streams fit",
    ):
        open_engine(lm, slots=10**7, capacity=10**7)
    with pytest.raises(MamTraError, match="64 bits"):
        Request(Unistream([1]), seed=2**64)


@HELD
def test_bad_ids_end_their_own_stream_alone(lm, held):
    engine = open_engine(lm, held)
    good = engine.submit(request_of(([1, 2, 3], [], [], False), 5))
    late = engine.submit(Request(Interleaved(text_ids=iter([1, 2, 3, 4, 5, 40])), seed=1))
    long = engine.submit(Request(Interleaved(text_ids=iter([1] * 500)), seed=1))
    for layout in (Unistream([40]), Unistream([-1]), Unistream([1], [1], [33])):
        with pytest.raises(MamTraError, match=r"(text id|speech token) (40|-1|33), but the model's are 0 to (39|32)"):
            engine.submit(Request(layout))
    with pytest.raises(MamTraError, match="text id 40"):
        late.result()
    with suppress(MamTraError):  # its text goes on where its slot ends
        long.result()
    assert long.finish_reason in ("error", "length") and 100 < len(long.tokens) < 400
    assert good.result() == expected_of(lm, ([1, 2, 3], [], [], False), 5, held)


def test_warming_up_leaves_streams_alone(lm):
    """What is captured on a GPU works on scratch memory."""
    engine = open_engine(lm, "device", slots=3)
    stream = engine.submit(request_of(some_requests(1, 1)[0], 0))
    next(stream)
    held = engine._batcher.held
    states = [held.pool.kv, held.pool.conv, held.pool.ssm]
    before = [state[:, :3].clone() for state in states]
    with torch.inference_mode():
        held._prefill.warm_up(70, 3)
    assert all(torch.equal(state[:, :3], kept) for state, kept in zip(states, before, strict=True))
    engine.warm_up()
    assert stream.result() == expected_of(lm, some_requests(1, 1)[0], 0, "device")


def test_streams_that_begin_wait_for_more_while_others_are_decoded(lm, monkeypatch):
    """As on a GPU, where a call for several takes hardly longer than one."""
    monkeypatch.setattr("mamtra.engine.batcher.GATHER", 1e9)
    engine = open_engine(lm, "device", slots=8)
    engine._batcher.held.lag = 1
    text = ([1, 2, 3], [], [], False)
    streams = [engine.submit(request_of(text, seed)) for seed in range(4)]
    engine._batcher.turn()
    for seed in (4, 5):
        streams.append(engine.submit(request_of(text, seed)))
        engine._batcher.turn()
    assert engine._batcher.scheduler.beginning == 2
    run(engine)
    assert [each.tokens for each in streams] == [expected_of(lm, text, i, "device") for i in range(6)]


def test_streams_are_fed_beside_the_steps_of_others(lm, monkeypatch):
    """As on a GPU, where inputs are taken in on a second stream; one that is cancelled meanwhile leaves its slot to another."""
    engine = open_engine(lm, "device", slots=3)
    held, batcher, settled = engine._batcher.held, engine._batcher, [True]
    monkeypatch.setattr(type(held), "settled", property(lambda self: settled[0]))
    text = ([1, 2, 3], [], [], False)
    streams = [engine.submit(request_of(text, 0))]
    batcher.turn()
    settled[0] = False
    streams += [engine.submit(request_of(text, seed)) for seed in (1, 2)]
    for _ in range(3):
        batcher.turn()
    assert len(streams[0].tokens) == 4 and not streams[1].tokens and not streams[2].tokens
    streams[2].cancel()
    batcher.turn()
    streams.append(engine.submit(request_of(text, 3)))
    batcher.turn()
    settled[0] = True
    run(engine)
    for i in (0, 1, 3):
        assert streams[i].tokens == expected_of(lm, text, i, "device")
    assert streams[2].finish_reason == "cancelled" and not streams[2].tokens


def test_bytes_of_a_stream_are_known(lm):
    pool = StatePool(lm.config, 3, 100, torch.device("cpu"), torch.float32)
    real = sum(t.numel() * t.element_size() for t in (pool.kv, pool.conv, pool.ssm))
    assert real == 4 * stream_bytes(lm.config, 100, torch.float32)


def test_weights_are_shared_with_the_model(lm):
    first, second = DecodeWeights.of(lm), DecodeWeights.of(lm)
    for mine, layer, other in zip(first.layers, lm.model.layers, second.layers, strict=True):
        assert mine.gate_up.data_ptr() == layer.mlp.gate_proj.weight.data_ptr() == other.gate_up.data_ptr()
    training = SpeechLM(lm.config, torch.Generator().manual_seed(1))
    before = [p.data_ptr() for p in training.parameters()]
    DecodeWeights.of(training)
    assert [p.data_ptr() for p in training.parameters()] == before


@HELD
@pytest.mark.parametrize("worker", [False, True])
def test_many_threads(lm, held, worker, monkeypatch):
    """Clients of one engine get what each would get alone, whether they make its turns or a thread of its own does."""
    if worker:
        monkeypatch.setattr("mamtra.engine.engine.ClientTurns", partial(WorkerTurns, device=torch.device("cpu")))
    work, found = some_requests(16, 9), {}
    with open_engine(lm, held, slots=4) as engine:

        def client(start: int) -> None:
            for i in range(start, len(work), 4):
                found[i] = list(engine.submit(request_of(work[i], i)))

        threads = [threading.Thread(target=client, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        forever = engine.submit(Request(Interleaved()))
    assert found == {i: expected_of(lm, w, i, held) for i, w in enumerate(work)}
    with pytest.raises(MamTraError, match="closed"):
        forever.result()
    with pytest.raises(MamTraError, match="closed"):
        engine.submit(Request(Unistream([1])))


@pytest.mark.parametrize("stops", [True, False])
def test_an_engine_that_fails_tells_every_client(lm, monkeypatch, stops):
    """Also where its device has failed for good, and takes no order to stop either."""
    engine, errors = open_engine(lm, "host"), []
    lengths = LengthConfig(min_ratio=10)

    def client(i: int) -> None:
        try:
            engine.submit(Request(Unistream([1, 2], lengths=lengths), seed=i)).result()
        except MamTraError as error:
            errors.append(str(error))

    def broken(slots):
        raise RuntimeError("no reason")

    monkeypatch.setattr(engine._batcher.held, "step", broken)
    if not stops:
        monkeypatch.setattr(engine._batcher.held, "stop", broken)
    threads = [threading.Thread(target=client, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == ["The engine failed: no reason"] * 3
    monkeypatch.undo()
    assert engine.submit(Request(Unistream([1, 2], lengths=lengths), seed=0)).result()


def test_an_interrupted_turn_ends_its_streams(lm, monkeypatch):
    engine = open_engine(lm, "host")
    streams = [engine.submit(Request(Unistream([1, 2]), seed=i)) for i in range(2)]

    def interrupted(slots):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine._batcher.held, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(streams[0])
    with pytest.raises(MamTraError, match="interrupted"):
        streams[1].result()
    assert not engine._batcher.scheduler.running


@HELD
def test_the_guards_against_loops_and_silence(lm, held):
    held_back = 0
    for sampling in (
        Sampling(guards=GuardConfig(most_repeats=2)),
        Sampling(guards=GuardConfig(most_silence=3)),
        Sampling(greedy=True, guards=GuardConfig(most_repeats=1)),
    ):
        engine = open_engine(lm, held, silent_ids=(1, 2, 3, 4, 5, 6, 7, 8, 9))
        lengths = LengthConfig(min_ratio=20, max_ratio=20)
        runs = [engine.submit(Request(Unistream([i], lengths=lengths), seed=i, sampling=sampling)) for i in range(6)]
        assert sum(len(run_.result()) for run_ in runs) > 40
        for run_ in runs:
            tokens = run_.tokens
            repeats = max((len(list(group)) for _, group in groupby(tokens)), default=0)
            silence = max(
                (len(list(group)) for quiet, group in groupby(tokens, lambda t: 1 <= t <= 9) if quiet), default=0
            )
            guards = sampling.guards
            assert repeats <= (guards.most_repeats or 20) and silence <= (guards.most_silence or 20)
        assert engine.stats().guarded == sum(
            bool(sampling.guards.barred(run_.tokens[:i], range(1, 10)))
            for run_ in runs
            for i in range(len(run_.tokens) + (run_.finish_reason == "eos"))
        )
        held_back += engine.stats().guarded
    assert held_back > 0


@HELD
def test_draws_from_all_ids_end_within_their_bounds(lm, held):
    engine = open_engine(lm, held)
    runs = [
        engine.submit(Request(Unistream([1, 2], bounds=(1, 12)), seed=i, sampling=Sampling(temperature=500.0)))
        for i in range(40)
    ]
    lengths = [len(run_.result()) for run_ in runs]
    assert min(lengths) >= 1 and max(lengths) == 12 and {run_.finish_reason for run_ in runs} == {"eos", "length"}
    assert len({token for run_ in runs for token in run_.tokens}) == lm.config.eos_id


def test_memory_stays_flat(lm):
    engine = open_engine(lm)
    sizes = []
    for round_ in range(3):
        for i, w in enumerate(some_requests(15, round_)):
            engine.submit(request_of(w, i))
        run(engine)
        sizes.append(
            (len(engine._batcher.scheduler.free), len(engine._batcher.scheduler.running), len(engine._batcher._flights))
        )
    assert sizes == [(5, 0, 0)] * 3
