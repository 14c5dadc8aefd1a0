"""Sound by hops is the sound of one chunk-masked pass; runs that say nothing are repeated as long as nothing was heard."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mamtra
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.time_stretch import Stretcher, stretch
from mamtra.errors import MamTraError
from mamtra.synthesis import streaming
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.pipeline import Request, speak
from mamtra.synthesis.retries import segment_seed
from mamtra.synthesis.streaming import HopSchedule, PromptStore, SegmentStream, stream_segment
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.text.split import Segment
from tests.factories import tiny_model, tiny_voice
from tests.rerun import Rerun


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_model(tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def feed(sound: SegmentStream, codes: list[int]) -> list[np.ndarray]:
    pieces = []
    while len(codes) >= (count := sound.wanted):
        pieces.append(sound.push(codes[:count]))
        codes = codes[count:]
    return [*pieces, sound.push(codes, final=True)]


@pytest.mark.parametrize("speed", [1.0, 0.7])
@pytest.mark.parametrize("count", [3, 90, 260])
def test_hops_are_the_whole(model, speed, count):
    codes = torch.randint(0, 6561, (count,), generator=torch.Generator().manual_seed(count)).tolist()
    voice = tiny_voice(tokens=31)
    whole = tokens_to_samples(model, voice, codes, seed=5, speed=speed, chunked=True)
    pieces = feed(SegmentStream(model, PromptStore(model).stream(voice), seed=5, speed=speed), codes)
    assert len(pieces) == {3: 1, 90: 3, 260: 5}[count] and whole.std() > 1e-4
    assert np.concatenate(pieces).shape == whole.shape
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-4


def test_hops_through_graphs_are_the_whole(tmp_path):
    model = open_model(tiny_model(tmp_path / "tiny"))
    codes = torch.randint(0, 6561, (260,), generator=torch.Generator().manual_seed(3)).tolist()
    whole = tokens_to_samples(model, tiny_voice(tokens=31), codes, seed=5, chunked=True)
    model.flow.use_graphs(Rerun())
    model.vocoder.use_graphs(Rerun())
    prompts = PromptStore(model)
    for _ in range(3):
        pieces = feed(SegmentStream(model, prompts.stream(tiny_voice(tokens=31)), seed=5), codes)
        assert np.abs(np.concatenate(pieces) - whole).max() < 1e-4


@pytest.mark.gpu
def test_streams_on_cuda_run_as_graphs(tmp_path):
    model = open_model(tiny_model(tmp_path / "tiny"), device="cuda")
    codes = torch.randint(0, 6561, (260,), generator=torch.Generator().manual_seed(3)).tolist()
    whole = tokens_to_samples(model, tiny_voice(tokens=31), codes, seed=5, chunked=True)
    prompts = PromptStore(model)
    for _ in range(3):
        pieces = feed(SegmentStream(model, prompts.stream(tiny_voice(tokens=31)), seed=5), codes)
        assert np.abs(np.concatenate(pieces) - whole).max() < 1e-2  # convolutions use TF32
    assert model.flow.decoder._graphed._graphs.count


def test_hops_grow_anew_for_each_request(model):
    assert [HopSchedule().least(hops) for hops in range(6)] == [20, 25, 50, 100, 100, 100]
    assert [HopSchedule(first=25, hop=50).least(hops) for hops in range(4)] == [25, 50, 100, 100]
    assert [HopSchedule(growth=1.5).least(hops) for hops in range(6)] == [20, 25, 37, 56, 84, 100]
    prompts = PromptStore(model)
    for _ in range(2):
        sound = SegmentStream(model, prompts.stream(tiny_voice(tokens=10)), seed=0)
        wanted = []
        for _ in range(4):
            wanted.append(sound.wanted)
            sound.push([1] * wanted[-1])
        assert wanted == [40 + 3, 25, 50, 100]


def test_hops_that_cannot_be(model):
    assert HopSchedule.parse("25") == HopSchedule(first=25)
    assert HopSchedule.parse("25, 50, 200") == HopSchedule(first=25, hop=50, most=200)
    for text in ("", "0", "25;50", "1,2,3,4", "25,-1", "2.5"):
        with pytest.raises(MamTraError, match="whole numbers above 0"):
            HopSchedule.parse(text)


def test_original_stream_up_to_its_first_seam(golden):
    """The original's first hop, as far as its vocoder heard the same frames: 60 frames less the 20 that look ahead."""
    model = mamtra.load(golden / "cosyvoice2-tiny").model
    g = load_file(golden / "tts_end_to_end.safetensors")
    stream = FlowStream(model.flow, g["prompt_token"], g["prompt_feat"], g["embedding"])
    assert stream.wanted(25) == 33 and g["tts_stream_chunk_samples"][0] == (60 - 8) * 480
    mel = stream.push(g["tts_tokens"][None, :33])
    wave = model.vocoder.inference(mel, noise=torch.zeros(1, 480 * 60, 1))
    assert mel.shape == (1, 80, 60)
    assert (wave - g["tts_stream_wav"][:, : 60 * 480])[:, : 40 * 480].abs().max() < 5e-3


def test_prompts_are_computed_once_and_the_oldest_let_go(model, monkeypatch):
    store, made = PromptStore(model), []
    voices = [tiny_voice(str(n), tokens=30) for n in range(3)]
    original = streaming.FlowStream

    def counted(*args, **options):
        made.append(args)
        return original(*args, **options)

    monkeypatch.setattr(streaming, "FlowStream", counted)
    sizes = [store.stream(voice).bytes for voice in (voices[0], voices[0], voices[1])]
    assert len(made) == 2 and sizes[0] == sizes[1] > 0
    monkeypatch.setattr(streaming, "PROMPT_BYTES", sizes[0])
    store.stream(voices[2])
    store.stream(voices[2])
    assert len(made) == 3
    store.stream(voices[0])
    assert len(made) == 4


class Run:
    """A run of the LM with known codes."""

    def __init__(self, codes, reason):
        self.tokens, self.finish_reason = list(codes), reason

    def __iter__(self):
        return iter(self.tokens)

    def cancel(self):
        pass


def segment(model, monkeypatch, *runs):
    left = iter(runs)
    monkeypatch.setattr(streaming, "start_run", lambda *_: Run(*next(left)))
    return list(stream_segment(Request(model, tiny_voice(), seed=4), [1], 1, prompts=PromptStore(model)))


def test_runs_that_say_nothing_are_repeated(model, monkeypatch):
    pieces = segment(model, monkeypatch, ([], "eos"), ([1] * 9, "length"), ([2] * 80, "eos"))
    assert [piece.attempts for piece in pieces] == [3] * len(pieces) and sum(piece.tokens for piece in pieces) == 80
    assert [piece.finish_reason for piece in pieces][-1] == "eos" and not any(p.finish_reason for p in pieces[:-1])
    found = np.concatenate([piece.samples for piece in pieces])
    whole = tokens_to_samples(model, tiny_voice(), [2] * 80, seed=segment_seed(4, 1, 2), chunked=True)
    assert np.abs(found - whole).max() < 1e-4
    with pytest.raises(MamTraError, match="no speech"):
        segment(model, monkeypatch, *[([], "eos")] * 3)


def test_what_was_heard_is_not_taken_back(model, monkeypatch):
    pieces = segment(model, monkeypatch, ([1] * 100, "length"))
    assert pieces[-1].finish_reason == "length" and {piece.attempts for piece in pieces} == {1}
    assert segment(model, monkeypatch, *[([1] * 5, "length")] * 3)[-1].attempts == 3


def test_sound_that_is_not_a_number_is_an_error(model, monkeypatch):
    monkeypatch.setattr(streaming.VocoderStream, "push", lambda *_: torch.tensor([[float("nan")]]))
    monkeypatch.setattr(streaming, "start_run", lambda *_: Run([1] * 9, "eos"))
    spoken = speak(
        Request(model, tiny_voice()), [Segment("a", [1])], partial(stream_segment, prompts=PromptStore(model))
    )
    with pytest.raises(MamTraError, match="not a number"):
        list(spoken)


@pytest.mark.parametrize("speed", [0.5, 0.73, 1.0, 1.9])
def test_stretching_by_pieces(speed):
    mel = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    stretcher = Stretcher(speed)
    pieces = [stretcher.push(piece, final=i == 4) for i, piece in enumerate(mel.split([1, 0, 13, 25, 1], dim=2))]
    whole = stretch(mel, speed)
    assert whole.shape[2] == max(1, round(40 / speed))
    assert torch.allclose(torch.cat(pieces, dim=2), whole, atol=1e-6)
    ramp = stretch(torch.arange(40.0)[None, None], speed)[0, 0]
    inner = ramp[2:-2]
    assert torch.allclose(inner.diff(), torch.full_like(inner[1:], speed), atol=1e-4)
