"""Recorded Euler steps: what is recorded, kept and handed on, with a recorder that runs the layers again in place of a graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mamtra.audio.flow import Flow
from mamtra.audio.flow_stream import FlowStream
from mamtra.audio.graphed import GraphedEstimator
from tests.audio.test_flow_stream import build, voice

STEPS = 4


class Rerun(GraphedEstimator):
    """Records on any device. A graph reads and writes the same memory at each launch, and so do its inputs here."""

    recorded = replayed = 0

    def _can_record(self, x: torch.Tensor) -> bool:
        return True

    def _record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        run()

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


def graphed(**options: int) -> tuple[Flow, Rerun]:
    flow = build()
    flow.decoder.estimator = Rerun(flow.decoder.estimator, **options)
    return flow, flow.decoder.estimator


def spoken(flow: Flow, pieces: tuple[int, ...]) -> torch.Tensor:
    token = torch.arange(sum(pieces))[None] % 50
    stream = FlowStream(flow, *voice(8), steps=STEPS)
    made = [stream.push(piece, final=i == len(pieces) - 1) for i, piece in enumerate(token.split(pieces, dim=1))]
    return torch.cat(made, dim=2)


def test_one_pass_is_recorded_once():
    flow, estimator = graphed()
    token, lengths = torch.arange(60).view(2, 30) % 50, torch.tensor([30, 21])
    for _ in range(2):
        mel = flow.inference(token, *voice(8, 2), token_len=lengths, steps=STEPS)
        wanted = build().inference(token, *voice(8, 2), token_len=lengths, steps=STEPS)
        assert torch.equal(mel[1, :, :42], wanted[1, :, :42]) and torch.equal(mel[0], wanted[0])
    assert (estimator.recorded, estimator.replayed) == (1, 2 * STEPS - 1)
    flow.inference(token, *voice(8, 2), steps=STEPS)
    assert estimator.recorded == 2


def test_a_stream_hands_its_past_on():
    flow, estimator = graphed()
    sizes = (13, 9, 20, 3)
    wanted = spoken(build(), sizes)
    assert torch.equal(spoken(flow, sizes), wanted)
    recorded = estimator.recorded
    assert torch.equal(spoken(flow, sizes), wanted) and estimator.recorded == recorded > 1


def test_old_recordings_go():
    flow, estimator = graphed(most_bytes=1)
    for count in (20, 30, 20):
        flow.inference(torch.arange(count)[None], *voice(8), steps=STEPS)
    assert estimator.recorded == 3
    assert sum(recording is not None for recording in estimator._recordings.values()) == 1


def test_without_cuda_or_with_gradients_nothing_is_recorded():
    flow = build()
    plain = flow.inference(torch.arange(20)[None], *voice(8), steps=STEPS)
    flow.decoder.estimator = GraphedEstimator(flow.decoder.estimator)
    assert torch.equal(flow.inference(torch.arange(20)[None], *voice(8), steps=STEPS), plain)
    assert not flow.decoder.estimator._recordings


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graph_gives_the_same_mel():
    flow, sizes = build().cuda(), (13, 9, 20, 3)
    token = torch.arange(sum(sizes), device="cuda")[None]

    def mels() -> list[torch.Tensor]:
        prompt = [value.cuda() for value in voice(8)]
        stream = FlowStream(flow, *prompt, steps=STEPS)
        pieces = token.split(sizes, dim=1)
        made = [stream.push(piece, final=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        return [torch.cat(made, dim=2), flow.inference(token, *prompt, steps=STEPS)]

    wanted = mels()
    flow.decoder.estimator = GraphedEstimator(flow.decoder.estimator)
    for _ in range(2):
        for mel, aim in zip(mels(), wanted, strict=True):
            torch.testing.assert_close(mel, aim, atol=1e-4, rtol=1e-4)
