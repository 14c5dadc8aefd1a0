"""Hops of many streams for `token2wav.py`: rows in lockstep, the time of each hop, and what its parts take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamtra.acoustic.hop_batch import HopBatch, chunks
from mamtra.acoustic.hop_encoder import encode_hop
from mamtra.acoustic.hop_rows import HopRow, HopVoice
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.hop_vocoder import noise_on
from mamtra.ops.places import Places
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

HISTORY = 100
"""Frames of a stream's window."""


class Hops:
    """Streams of one voice in lockstep."""

    def __init__(self, model: Model, voice: Voice, batch: int, steps: int, tokens: list[list[int]]) -> None:
        sizes = HopSizes.of(model.flow, history=HISTORY, steps=steps)
        prompt = voice.prompt_speech.tolist()
        self.batch = HopBatch(
            model.flow, model.vocoder, sizes, streams=batch, pages=max(1, sizes.prefix_chunks(len(prompt)))
        )
        with torch.inference_mode():
            self.voice = HopVoice.make(
                self.batch.flow,
                self.batch.pool,
                prompt,
                voice.prompt_mel,
                voice.embedding,
                lambda hop: self.batch([hop]),
            )
        self._tokens, self._count, self.times = tokens, batch, list[list[float]]()
        samples = len(tokens[0]) * sizes.ratio * self.batch.sound.vocoder.config.hop
        # One array for all runs: memory that is new costs a hop of many rows more than the copy into it.
        self._made = np.zeros((batch, samples), np.float32)

    def __call__(self, first: Callable[[], None]) -> list[np.ndarray]:
        """Samples of all streams; `first` is called after each hop with sound."""
        pool, chunk = self.batch.pool, self.batch.pool.sizes.chunk
        rows = [HopRow(pool, self.voice, self.batch.sound, seed) for seed in range(self._count)]
        left, done, times = [self.voice.rest + row for row in self._tokens], 0, []
        while not rows[0].done:
            began = time.perf_counter()
            hops = [row.next(tokens, True) for row, tokens in zip(rows, left, strict=True)]
            begin, end = hops[0].heard
            self._made[:, done : done + end - begin] = self.batch.fetch(hops)[:, begin:end].numpy()
            times.append(time.perf_counter() - began)
            done += end - begin
            left = [tokens[chunk:] for tokens in left]
            if end > begin:
                first()
        for row in rows:
            row.free()
        self.times.append(times)
        return list(self._made)

    def noise(self, samples: int) -> Tensor:
        """(1, samples, 1) noise of the first stream, which it takes from the vocoder's table."""
        row = HopRow(self.batch.pool, self.voice, self.batch.sound, 0)
        row.free()
        table = noise_on(torch.device("cpu"))
        return table[(row.noise + torch.arange(samples)) % len(table)][None, :, None]

    def details(self) -> dict[str, Any]:
        """Of the runs since: time of a hop in ms, bytes, and the parts of a hop on a GPU."""
        usual = [1000 * each for times in self.times for each in times[1:-1]]
        return {
            "hop_ms": statistics.median(usual),
            "slowest_hop_ms": max(usual),
            "stream_bytes": self.batch.pool.stream_bytes,
            "graphs_captured": self.batch.graphs.count,
            "parts_ms": self._parts() if self.batch.device.type == "cuda" else None,
        }

    @torch.inference_mode()
    def _parts(self) -> dict[str, float]:
        batch, sizes = self.batch, self.batch.pool.sizes
        rows = [HopRow(batch.pool, self.voice, batch.sound, seed) for seed in range(self._count)]
        for _ in range(3):
            hops = [row.next(self._tokens[0], True) for row in rows]
        packed = batch._pack(hops, len(hops), chunks(len(self.voice.pages))).to(batch.device)

        def encode(given: Tensor) -> tuple[Tensor]:
            _, fresh, prefix, ring, row, offset, _, target = given[:, :8].unbind(1)
            ends = [sizes.chunk + sizes.lookahead, chunks(len(self.voice.pages)), sizes.ring]
            tokens, front, window = given[:, 11:].split(ends, dim=1)
            places = Places(front, prefix, window, ring, target, fresh, sizes.hidden)
            embedded = batch.flow.encoder.embed(batch.flow.input_embedding(tokens))
            return (encode_hop(batch.flow.encoder, embedded, batch.pool, row, places, offset),)

        batch.graphs.capture("encode", encode, [packed])
        batch.capture(len(hops))
        taken = {
            name: median_ms(lambda name=name: batch.graphs.replay(name, [packed]))
            for name in ("_hop", "_tail", "encode")
        }
        for row in rows:
            row.free()
        whole, vocoder, encoder = taken.values()
        return {"encoder": encoder, "estimator": whole - vocoder - encoder, "vocoder": vocoder}


def median_ms(run: Callable[[], object], runs: int = 7) -> float:
    """Time of a call on a GPU."""
    times = []
    for _ in range(runs + 1):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[1:])
