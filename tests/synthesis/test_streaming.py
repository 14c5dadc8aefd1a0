"""Sound by hops is the sound of one chunk-masked pass; runs that say nothing are repeated as long as nothing was heard."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import mamtra
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.time_stretch import Stretcher, stretch
from mamtra.errors import MamTraError
from mamtra.synthesis import coverage, streaming
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.original_stream import OriginalStream
from mamtra.synthesis.pipeline import Request, speak
from mamtra.synthesis.retries import AS_IT_COMES, segment_seed
from mamtra.synthesis.streaming import HopSchedule, SegmentStream, prompt_store, stream_segment
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice, VoiceInfo
from tests.factories import tiny_model, tiny_voice
from tests.rerun import Rerun


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
    voice = tiny_voice(tokens=31).renamed("wide", pitch=100.0, pitch_range=1.4)
    whole = tokens_to_samples(model, voice, codes, seed=5, speed=speed, chunked=True)
    flow = prompt_store(model).stream(voice)
    pieces = feed(SegmentStream(model, flow, seed=5, speed=speed, pitch_range=voice.pitch_range), codes)
    assert len(pieces) == {3: 1, 90: 3, 260: 5}[count] and whole.std() > 1e-4
    assert np.concatenate(pieces).shape == whole.shape
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-4


def test_hops_through_graphs_are_the_whole(tmp_path):
    model = open_model(tiny_model(tmp_path / "tiny"))
    codes = torch.randint(0, 6561, (260,), generator=torch.Generator().manual_seed(3)).tolist()
    whole = tokens_to_samples(model, tiny_voice(tokens=31), codes, seed=5, chunked=True)
    model.flow.use_graphs(Rerun())
    model.vocoder.use_graphs(Rerun())
    prompts = prompt_store(model)
    for _ in range(3):
        pieces = feed(SegmentStream(model, prompts.stream(tiny_voice(tokens=31)), seed=5), codes)
        assert np.abs(np.concatenate(pieces) - whole).max() < 1e-4


@pytest.mark.gpu
def test_streams_on_cuda_run_as_graphs(tmp_path):
    model = open_model(tiny_model(tmp_path / "tiny"), device="cuda")
    codes = torch.randint(0, 6561, (260,), generator=torch.Generator().manual_seed(3)).tolist()
    whole = tokens_to_samples(model, tiny_voice(tokens=31), codes, seed=5, chunked=True)
    prompts = prompt_store(model)
    for _ in range(3):
        pieces = feed(SegmentStream(model, prompts.stream(tiny_voice(tokens=31)), seed=5), codes)
        assert np.abs(np.concatenate(pieces) - whole).max() < 1e-2  # convolutions use TF32
    assert model.flow.decoder._graphed._graphs.count


def test_streams_on_a_cpu_are_computed_one_by_one(model):
    assert model.hop_engine is None


def test_hops_grow_anew_for_each_request(model):
    assert [HopSchedule().least(hops) for hops in range(6)] == [20, 25, 50, 100, 100, 100]
    assert [HopSchedule(first=25, hop=50).least(hops) for hops in range(4)] == [25, 50, 100, 100]
    assert [HopSchedule(growth=1.5).least(hops) for hops in range(6)] == [20, 25, 37, 56, 84, 100]
    prompts = prompt_store(model)
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


@pytest.fixture
def original(golden, monkeypatch):
    """The original's model and vectors; its vocoder had no noise."""
    monkeypatch.setattr(HiFT, "noise", lambda *_: lambda samples: torch.zeros(1, samples, 1))
    g = golden["tts_end_to_end"]
    text = torch.zeros(0, dtype=torch.int64)
    voice = Voice(VoiceInfo(name="a"), text, g["prompt_token"][0], g["prompt_feat"][0], g["embedding"][0])
    return mamtra.load(golden.directory).model, voice, g


def test_original_speeds(original, agree):
    model, voice, g = original
    speeds = [name.removeprefix("wav_full_speed") for name in g if name.startswith("wav_full_speed")]
    assert len(speeds) > 1
    for speed in speeds:
        wave = tokens_to_samples(model, voice, g["token"][0].tolist(), seed=0, speed=float(speed))
        agree(f"waveform at speed {speed}", wave, g[f"wav_full_speed{speed}"][0], 5e-3)


def test_original_stream(original, agree):
    model, voice, g = original
    pieces = feed(OriginalStream(model, voice, seed=0), g["tts_tokens"].tolist())
    agree("lengths of the chunks", [len(piece) for piece in pieces], g["tts_stream_chunk_samples"].tolist())
    agree("streamed waveform", np.concatenate(pieces), g["tts_stream_wav"][0], 5e-3)


def test_a_model_like_the_original_streams_by_its_hops(model, monkeypatch):
    monkeypatch.setattr(model, "generation", model.generation.model_copy(update={"like_original": True}))
    monkeypatch.setattr(streaming, "start_run", lambda *_: Run([1] * 90, "eos"))
    request = Request(model, tiny_voice(tokens=20), retries=AS_IT_COMES)

    def spoken(**options):
        chunks = speak(
            request,
            [Segment("a", [1], 0.5, pause_asked=0.5)],
            partial(stream_segment, prompts=prompt_store(model), **options),
        )
        return [len(chunk.samples) for chunk in chunks]

    # the pause that the text asks for, hops of 30 and 60 tokens less 8 frames that fade, nothing trimmed
    assert spoken() == [12000 + (60 - 8) * 480, 100 * 480, (20 + 8) * 480]
    every = [12000 + 40 * 480, 50 * 480, 90 * 480]  # every sample once
    assert spoken(schedule=HopSchedule()) == every
    monkeypatch.setattr(model, "generation", model.generation.model_copy(update={"flow_history": 50}))
    assert spoken() == every


def test_a_bounded_history_is_that_of_the_whole_too(model, monkeypatch):
    codes = torch.randint(0, 6561, (260,), generator=torch.Generator().manual_seed(3)).tolist()
    held = []
    for history in (0, 50):
        monkeypatch.setattr(model, "generation", model.generation.model_copy(update={"flow_history": history}))
        whole = tokens_to_samples(model, tiny_voice(tokens=31), codes, seed=5, chunked=True)
        flow = prompt_store(model).stream(tiny_voice(tokens=31))
        assert np.abs(np.concatenate(feed(SegmentStream(model, flow, seed=5), codes)) - whole).max() < 1e-4
        held.append(flow.private_bytes)
    assert 0 < 4 * held[1] < held[0]
    assert mamtra.load(model.directory, device="cpu", flow_history=100).model.generation.flow_history == 100
    with pytest.raises(MamTraError, match="history of 40 frames; use 0 for all, or a multiple of 2 from 50"):
        mamtra.load(model.directory, device="cpu", flow_history=40)
    with pytest.raises(MamTraError, match="belong to the runtime torch"):
        mamtra.load(model.directory, runtime="onnx", flow_history=100)


def test_prompts_are_computed_once_and_the_oldest_let_go(model, monkeypatch):
    store, made = prompt_store(model), []
    voices = [tiny_voice(str(n), tokens=30 + n) for n in range(3)]
    original = streaming.flow_stream

    def counted(*args, **options):
        made.append(args)
        return original(*args, **options)

    monkeypatch.setattr(streaming, "flow_stream", counted)
    sizes = [store.stream(voice).bytes for voice in (voices[0], voices[0], voices[1])]
    assert len(made) == 2 and sizes[0] == sizes[1] > 0
    monkeypatch.setattr(streaming, "PROMPT_BYTES", sizes[0])
    small = prompt_store(model)
    for number in (0, 0, 1, 1, 0):
        small.stream(voices[number])
    assert len(made) == 2 + 3


class Run:
    """A run of the LM with known codes."""

    def __init__(self, codes, reason):
        self.tokens, self.finish_reason = list(codes), reason

    def __iter__(self):
        return iter(self.tokens)

    def expect(self, count):
        pass

    def cancel(self):
        pass


def segment(model, monkeypatch, *runs):
    left = iter(runs)
    monkeypatch.setattr(streaming, "start_run", lambda *_: Run(*next(left)))
    return list(stream_segment(Request(model, tiny_voice(), seed=4), [1], 1, prompts=prompt_store(model)))


def test_runs_that_say_nothing_are_repeated(model, monkeypatch):
    pieces = segment(model, monkeypatch, ([], "eos"), ([1] * 9, "length"), ([2] * 80, "eos"))
    assert [piece.attempts for piece in pieces] == [3] * len(pieces) and sum(piece.tokens for piece in pieces) == 80
    assert [piece.finish_reason for piece in pieces][-1] == "eos" and not any(p.finish_reason for p in pieces[:-1])
    found = np.concatenate([piece.samples for piece in pieces])
    whole = tokens_to_samples(model, tiny_voice(), [2] * 80, seed=segment_seed(4, 1, 2), chunked=True)
    assert np.abs(found - whole).max() < 1e-4
    with pytest.raises(MamTraError, match="no speech"):
        segment(model, monkeypatch, *[([], "eos")] * 5)


def test_what_was_heard_is_not_taken_back(model, monkeypatch):
    pieces = segment(model, monkeypatch, ([1] * 100, "length"))
    assert pieces[-1].finish_reason == "length" and {piece.attempts for piece in pieces} == {1}
    assert segment(model, monkeypatch, *[([1] * 5, "length")] * 5)[-1].attempts == 5


def test_words_left_out_before_the_first_audio_are_said_again(model, monkeypatch):
    asked = []

    def misread(attention, pace=None, *, ended=True):
        asked.append((len(attention), ended))
        return float(len(asked) == 1)

    monkeypatch.setattr(streaming.Request, "attention", lambda self, text_ids, tokens, _: np.zeros((len(tokens), 1)))
    monkeypatch.setattr(coverage, "misread", misread)
    monkeypatch.setattr(coverage, "read_by", lambda *_, **__: None)
    pieces = segment(model, monkeypatch, ([1] * 80, "eos"), ([2] * 80, "eos"))
    assert {piece.attempts for piece in pieces} == {2} and sum(piece.tokens for piece in pieces) == 80
    assert len(asked) == 2 and not any(ended for _, ended in asked)
    pieces = segment(model, monkeypatch, ([1] * 5, "eos"))  # too short for audio before its end
    assert asked[-1] == (5, True) and pieces[-1].attempts == 1


def test_sound_that_is_not_a_number_is_an_error(model, monkeypatch):
    monkeypatch.setattr(streaming.VocoderStream, "push", lambda *_: torch.tensor([[float("nan")]]))
    monkeypatch.setattr(streaming, "start_run", lambda *_: Run([1] * 9, "eos"))
    spoken = speak(
        Request(model, tiny_voice()), [Segment("a", [1])], partial(stream_segment, prompts=prompt_store(model))
    )
    with pytest.raises(MamTraError, match="not a number"):
        list(spoken)


@pytest.mark.parametrize("speed", [0.5, 0.73, 1.0, 1.9])
def test_stretching_by_pieces(speed):
    mel = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    stretcher = Stretcher(speed)
    pieces = [stretcher.push(piece, final=i == 4) for i, piece in enumerate(mel.split([1, 0, 13, 25, 1], dim=2))]
    whole = Stretcher(speed).push(mel, final=True)
    assert abs(whole.shape[2] - stretch(mel, speed).shape[2]) <= 1
    assert torch.allclose(torch.cat(pieces, dim=2), whole, atol=1e-6)
    ramp = Stretcher(speed).push(torch.arange(40.0)[None, None], final=True)[0, 0]
    inner = ramp[2:-2]
    assert torch.allclose(inner.diff(), torch.full_like(inner[1:], speed), atol=1e-4)


@pytest.mark.parametrize(("frames", "speed", "wanted"), [(92, 1.3, 70), (52, 0.7, 74), (3, 2.0, 1), (1, 2.0, 1)])
def test_stretching_as_the_original(frames, speed, wanted):
    """Frame j of `wanted` lies at (j + 1/2) * frames / wanted - 1/2."""
    made = stretch(torch.arange(float(frames))[None, None], speed)[0, 0]
    place = (torch.arange(wanted) + 0.5) * frames / wanted - 0.5
    assert made.shape == (wanted,) and torch.allclose(made, place.clamp(0, frames - 1), atol=1e-4)
