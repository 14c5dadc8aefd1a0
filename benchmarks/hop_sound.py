"""The embedded voice through hops of many streams: how far float16 takes its sound from that of one stream in float32.

    python benchmarks/hop_sound.py [--device cuda] [--sentences 32] [--sounds DIR] [--out docs/results/hop_sound.json]

The tokens of each sentence are made once. The reference is `FlowStream` and the vocoder, one sentence after another, in float32
without TF32; a variant is `mamtra.acoustic.hop_batch` with all sentences side by side, the same history and the same noise. The
error is that of the samples relative to their root mean square, the distance that of their log mel spectra in dB (80 bands, floor
80 dB below the loudest). With `--sounds` the sound of both is written, for judges.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from record import benchmark, device_name
from torch import Tensor

import mamtra
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hop_batch import HopBatch
from mamtra.acoustic.hop_rows import HopRow, HopVoice
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.hop_vocoder import NOISE, HopVocoder, noise_on
from mamtra.audio.features import slaney_filterbank
from mamtra.audio.io import write_audio
from mamtra.engine.request import Request, Unistream
from mamtra.evaluate.sentences import read_sentences
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.model import Model
from mamtra.synthesis.token2wav import voice_inputs
from mamtra.voices.voice import Voice

HISTORY = 200
"""Frames of a stream's window."""
VARIANTS = {
    "float32": (False, False),
    "flow": (True, False),
    "vocoder": (False, True),
    "flow and vocoder": (True, True),
}
"""What is float16: flow, vocoder."""


@torch.inference_mode()
def by_hops(
    model: Model, voice: Voice, tokens: Sequence[list[int]], half: tuple[bool, bool]
) -> tuple[list[Tensor], list[int]]:
    """Samples of all rows, and the place of their noise in the table."""
    sizes = HopSizes.of(model.flow, history=HISTORY, steps=model.generation.flow_steps)
    prompt = voice.prompt_speech.tolist()
    flow, vocoder = (torch.float16 if each else torch.float32 for each in half)
    batch = HopBatch(
        model.flow, model.vocoder, sizes, streams=len(tokens), pages=max(1, sizes.prefix_chunks(len(prompt))), dtype=flow
    )  # fmt: skip
    batch.sound = HopVocoder(model.vocoder, sizes.frames, vocoder)
    made = HopVoice.make(batch.flow, batch.pool, prompt, voice.prompt_mel, voice.embedding, lambda hop: batch([hop]))
    rows = [HopRow(batch.pool, made, batch.sound, seed) for seed in range(len(tokens))]
    left, waves = [made.rest + row for row in tokens], [[] for _ in tokens]
    while active := [i for i, row in enumerate(rows) if not row.done]:
        hops = [rows[i].next(left[i], True) for i in active]
        for i, hop, wave in zip(active, hops, batch.fetch(hops), strict=True):
            waves[i].append(wave[slice(*hop.heard)].cpu().clone())
            left[i] = left[i][sizes.chunk :]
    return [torch.cat(pieces) for pieces in waves], [row.noise for row in rows]


@torch.inference_mode()
def alone(model: Model, voice: Voice, tokens: list[int], place: int) -> Tensor:
    """Samples of one stream in float32."""
    stream = FlowStream(model.flow, *voice_inputs(model, voice), steps=model.generation.flow_steps, history=HISTORY)
    mel = stream.push(torch.tensor([tokens], device=model.device), final=True)
    samples = mel.shape[2] * model.vocoder.config.hop
    noise = noise_on(torch.device("cpu"))[(place + torch.arange(samples)) % NOISE]
    return model.vocoder.inference(mel, noise=noise[None, :, None].to(model.device))[0].cpu()


def spoken(model: Model, voice: Voice, text: str, seed: int) -> list[int]:
    """Speech tokens of a sentence."""
    ids = [i for segment in model.text.segments(text) for i in segment.ids]
    return model.engine.submit(Request(Unistream(ids, voice.prompt_text, voice.prompt_speech), seed=seed)).result()


def error(found: Tensor, wanted: Tensor) -> float:
    """Of samples, relative."""
    return ((found - wanted).square().mean() / wanted.square().mean()).sqrt().item()


def distance(found: Tensor, wanted: Tensor) -> float:
    """Of log mel spectra in dB: root mean square over bands, mean over time."""
    window, bands = torch.hann_window(1024), slaney_filterbank(24000, 1024, 80, 8000.0, found.device)
    spectra = [
        torch.stft(wave, 1024, 256, window=window, return_complex=True).abs().square() for wave in (found, wanted)
    ]
    powers = [bands @ spectrum for spectrum in spectra]
    levels = [10 * power.clamp(min=powers[1].max().item() * 1e-8).log10() for power in powers]
    return (levels[0] - levels[1]).square().mean(0).sqrt().mean().item()


def compare(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> dict[str, Any]:
    """Errors and distances of the sentences."""
    pairs = list(zip(found, wanted, strict=True))
    errors, distances = ([function(*pair) for pair in pairs] for function in (error, distance))
    return {
        "error": statistics.median(errors), "largest_error": max(errors), "distance": statistics.median(distances),
        "largest_distance": max(distances), "finite": all(bool(wave.isfinite().all()) for wave in found),
    }  # fmt: skip


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    device = pick_device(args.device)
    torch.backends.cudnn.allow_tf32 = False  # before the model is loaded
    tts = mamtra.load("mini", device=device)
    voice, texts = tts.voice(), read_sentences()[: args.sentences]
    tokens = [spoken(tts.model, voice, text, seed) for seed, text in enumerate(texts)]
    result = {"device": device_name(device), "sentences": len(texts), "history": HISTORY, "rows": []}
    wanted: list[Tensor] = []
    for name, half in VARIANTS.items():
        found, places = by_hops(tts.model, voice, tokens, half)
        wanted = wanted or [alone(tts.model, voice, *row) for row in zip(tokens, places, strict=True)]
        pairs = list(zip(found, wanted, strict=True))
        result["rows"].append({"float16": name, **compare(found, wanted)})
        yield result
    other = [alone(tts.model, voice, row, place + NOISE // 2) for row, place in zip(tokens, places, strict=True)]
    result["other_noise"] = compare(other, wanted)
    yield result
    if args.sounds is not None:
        args.sounds.mkdir(parents=True, exist_ok=True)
        for i, (text, waves) in enumerate(zip(texts, pairs, strict=True)):
            (args.sounds / f"{i:03}.txt").write_text(text + "\n", encoding="utf-8")
            for name, wave in zip(("hops", "alone"), waves, strict=True):
                write_audio(args.sounds / f"{i:03}.{name}.opus", wave.numpy(), 24000)


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    rows = [("hops, " + (row["float16"] + " in float16" if row["float16"] != "float32" else "float32"), row)
            for row in result["rows"]]  # fmt: skip
    rows += [("one stream, float32, other noise", result["other_noise"])] if "other_noise" in result else []
    lines = [
        (
            name,
            f"{row['error']:.1e}",
            f"{row['largest_error']:.1e}",
            f"{row['distance']:.2f}",
            f"{row['largest_distance']:.2f}",
        )
        for name, row in rows
    ]
    return page(
        result,
        "# The sound of hops in float16",
        f"The embedded voice on {result['device']}: {result['sentences']} sentences side by side through the hops of many streams, "
        f"history of {result['history']} frames, against one stream at a time in float32 with the same tokens and the same noise.",
        markdown_table(
            ("sound", "error of samples", "largest", "distance of log mel spectra, dB", "largest"), lines
        ),
        "The error of samples is relative to their root mean square, median and largest of the sentences. Where the flow rounds, "
        "F0 moves a little and with it the phase of all that follows: samples differ, and so does how harmonics add up within a "
        "band. Whether that is heard was not judged. The last row shows how far the same sound is from itself with another noise "
        "of the vocoder. F0, the excitation and the logarithms and phases of the spectrum are float32 in every row.",
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device")
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--sounds", type=Path, metavar="DIR")


def main(argv: list[str] | None = None) -> None:
    benchmark("hop_sound", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
