"""The phases from speech tokens to samples that `token2wav.py` compares, at CosyVoice 2's sizes, randomly initialised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from record import TINY_FLOW, TINY_VOCODER
from token2wav_hops import Hops
from torch import Tensor

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.synthesis.model import Model
from mamtra.synthesis.streaming import HopSchedule
from mamtra.synthesis.token2wav import batch_to_samples
from mamtra.voices.info import VoiceInfo
from mamtra.voices.voice import Voice

RATE, HOP, STEPS = 24000, 480, 10
PROMPT, TOKENS = 75, 250
OVERLAP = 8  # mel frames that the reference passes to the vocoder again
First = Callable[[], None]
"""Called after each hop, when its samples are on the host."""
Work = Callable[[First], list[np.ndarray]]


def build(device: torch.device, half: bool, tiny: bool, folder: Path, steps: int = STEPS) -> Model:
    """A randomly initialised model, without weight files; with fewer than `STEPS` steps its flow is a few-step one."""
    torch.manual_seed(0)
    few = {} if steps == STEPS else {"trained_steps": (steps,), "inference_cfg_rate": 0}
    with torch.device(device):
        flow = Flow(FlowConfig(**few, **(TINY_FLOW if tiny else {})))
        vocoder = HiFT(HiFTConfig(**(TINY_VOCODER if tiny else {})))
    vocoder.remove_weight_norm()
    (folder / "config.json").write_text(json.dumps({"format": 1, "sample_rate": RATE}))
    parts = {
        "flow": flow.to(torch.float16 if half else torch.float32).eval().requires_grad_(False),
        "vocoder": vocoder.eval().requires_grad_(False),
    }
    model = Model(folder, device, parts=parts)
    model.generation = model.generation.model_copy(update={"flow_steps": steps})
    return model


def make_voice(codebook: int = 6561, said: int = 0) -> Voice:
    """A voice of random numbers whose tokens are below `codebook`, with so many text ids of what it says."""
    draw = torch.Generator().manual_seed(1)
    return Voice(
        VoiceInfo(name="random"),
        torch.full((said,), 100),
        torch.randint(0, codebook, (PROMPT,), generator=draw),
        torch.randn(2 * PROMPT, 80, generator=draw) - 5,
        torch.randn(192, generator=draw),
    )


def make_tokens(lengths: list[int]) -> list[list[int]]:
    draw = torch.Generator().manual_seed(2)
    return [torch.randint(0, 6561, (length,), generator=draw).tolist() for length in lengths]


def varied(batch: int, tokens: int) -> list[int]:
    """Lengths from 0.8 to 1.2 times `tokens`; a single one is `tokens`."""
    return [round(tokens * (0.8 + 0.4 * i / (batch - 1))) for i in range(batch)] if batch > 1 else [tokens]


def offline(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Work, float]:
    rows = make_tokens(varied(batch, tokens))

    def work(first: First) -> list[np.ndarray]:
        return batch_to_samples(model, [voice] * batch, rows, seeds=list(range(batch)))

    return work, sum(map(len, rows)) / 25


def prompt_of(model: Model, voice: Voice, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (voice.prompt_speech, voice.prompt_mel, voice.embedding)
    return tuple(value[None].repeat(batch, *[1] * value.dim()).to(model.device) for value in tensors)


def noise_of(model: Model, batch: int) -> Callable[[int], Tensor]:
    draws = [model.vocoder.noise(torch.Generator().manual_seed(seed)) for seed in range(batch)]
    return lambda count: torch.cat([draw(count) for draw in draws]).to(model.device)


def hops(stream: FlowStream, tokens: int) -> list[int]:
    """Tokens pushed by each hop but the last."""
    schedule, sizes, chunk = HopSchedule(), [], stream._flow.config.chunk_size
    done, held = stream.offset, PROMPT - stream.offset
    while True:
        least = max(0, PROMPT - done) + schedule.least(len(sizes))
        ready = -(-least // chunk) * chunk
        size = ready + stream._flow.config.pre_lookahead_len - held
        if sum(sizes) + size >= tokens:
            return sizes
        sizes.append(size)
        done, held = done + ready, stream._flow.config.pre_lookahead_len


def streaming(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Work, float]:
    begun = FlowStream(model.flow, *prompt_of(model, voice, batch), steps=STEPS)
    begun.push(torch.zeros(batch, 0, dtype=torch.int64, device=model.device))
    sizes = hops(begun, tokens)
    rows = make_tokens([tokens] * batch)

    def work(first: First) -> list[np.ndarray]:
        stream, vocoder = begun.fork(), VocoderStream(model.vocoder, noise_of(model, batch))
        waves, begin = [], 0
        for size in (*sizes, tokens):
            final = size == tokens
            token = torch.tensor([row[begin : begin + size] for row in rows], device=model.device)
            waves.append(vocoder.push(stream.push(token, final), final).float().cpu().numpy())
            first()
            begin += size
        return list(np.concatenate(waves, axis=1))

    return work, batch * tokens / 25


def from_scratch(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Work, float]:
    prompt = prompt_of(model, voice, batch)
    probe = FlowStream(model.flow, *prompt, steps=STEPS)
    probe.offset = PROMPT // model.flow.config.chunk_size * model.flow.config.chunk_size  # only for planning the hops
    if PROMPT - probe.offset < model.flow.config.pre_lookahead_len:
        probe.offset -= model.flow.config.chunk_size
    ends = np.cumsum(hops(probe, tokens)).tolist()
    rows = make_tokens([tokens] * batch)

    @torch.inference_mode()
    def work(first: First) -> list[np.ndarray]:
        draw, waves, done = noise_of(model, batch), [], 0
        mel_before = source_before = None
        for end in (*ends, tokens):
            final = end == tokens
            token = torch.tensor([row[:end] for row in rows], device=model.device)
            mel = model.flow.inference(token, *prompt, steps=STEPS, streaming=True, finalize=final)[:, :, done:]
            done += mel.shape[2]
            if mel_before is not None:
                mel = torch.cat([mel_before, mel], dim=2)
            made = model.vocoder.synthesize(mel, source_cache=source_before, noise=draw(mel.shape[2] * HOP))
            mel_before, source_before = mel[:, :, -OVERLAP:], made.source[:, :, -OVERLAP * HOP :]
            wave = made.wave if final else made.wave[:, : -OVERLAP * HOP]
            waves.append(wave.float().cpu().numpy())
            first()
        return list(np.concatenate(waves, axis=1))

    return work, batch * tokens / 25


def hop_rows(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Work, float]:
    rows = make_tokens([tokens] * batch)
    return Hops(model, voice, batch, model.generation.flow_steps, rows), batch * tokens / 25


PHASES = {"from scratch": from_scratch, "one by one": streaming, "hops": hop_rows, "offline": offline}
