"""Mel to samples: the vocoders of `mamtra.acoustic` and `mamtra.acoustic.vocoder_stream` over graphs."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.acoustic.receptive_field import SOURCE_FILTER, near_field, receptive_field, stage_fields
from mamtra.light.graph import GraphBuilder
from mamtra.light.pulse_source import PulseSource
from mamtra.light.random import Generator
from mamtra.light.sessions import open_session
from mamtra.light.sine_source import SineSource
from mamtra.light.source_filter_graph import build_filter
from mamtra.light.vocoder_graph import build_pitch, build_wave
from mamtra.light.weights import StoredWeights
from mamtra.runtime.allocator import give_back

SHORTEST = 30
"""Frames of a piece at least: what lies around the ends of pieces is computed twice."""


def _at_frame_rate(config: Mapping[str, Any]) -> bool:
    return config.get("architecture") == SOURCE_FILTER


def build_samples(graph: GraphBuilder, config: Mapping[str, Any], *, pieces: bool = False) -> None:
    """Write the graph of the decoder from an empty one over the weights of the vocoder; arguments as in `build_wave`."""
    if _at_frame_rate(config):
        build_filter(graph, config)
    else:
        build_wave(graph, config, pieces=pieces)


class LightVocoder:
    """The vocoder.

    Args:
        weights: its weights.
        config: section of config.json.
        threads: that compute a whole utterance, a piece of it each: some operators leave a second thread of their own without work.
        near: samples are computed from their `near_field`, not all that they depend on.

    Attributes:
        reach: frames before and after a sample that it is computed with in a stream or a piece.
    """

    def __init__(self, weights: StoredWeights, config: Mapping[str, Any], threads: int = 1, near: bool = False) -> None:
        sizes = SimpleNamespace(**config)
        graphs = [GraphBuilder(name, weights, "float", folded=True) for name in ("pitch", "wave")]
        build_pitch(graphs[0], config)
        self.reach = (near_field if near else receptive_field)(sizes)
        self._fields, self._threads = [self.reach], threads
        build_samples(graphs[1], config, pieces=True)
        if _at_frame_rate(config):
            self.source: PulseSource | SineSource = PulseSource(config)
        else:
            mix = (weights.values(f"m_source.l_linear.{name}") for name in ("weight", "bias"))
            self.source = SineSource(config, *mix)
            self._fields += [(field, field) for field in stage_fields(sizes)[1:]]
        self._pitch, self._wave = (open_session(graph) for graph in graphs)
        self.hop = self.source.hop

    def f0(self, mel: np.ndarray) -> np.ndarray:
        """F0 (T,) in Hz of mel (mel, T)."""
        return self._pitch.run(None, {"mel": mel[None]})[0][0]

    def wave(self, mel: np.ndarray, source: np.ndarray, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Samples (hop * (end - begin),) of some frames, by default all, of mel (mel, T) and excitation (..., hop * T)."""
        frames, hop = mel.shape[1], self.hop
        end = frames if end is None else end
        kept = [(max(0, begin - before), min(frames, end + after)) for before, after in self._fields]
        drops = {
            f"drop.{stage}": np.array([later[0] - earlier[0], earlier[1] - later[1]])
            for stage, (earlier, later) in enumerate(pairwise(kept), 1)
        }
        first, last = kept[0]
        given = {"mel": mel[None, :, first:last], "source": source[None, ..., first * hop : last * hop], **drops}
        start = begin - kept[-1][0]
        return self._wave.run(None, given)[0][0, start * hop : (start + end - begin) * hop]

    def whole(self, mel: np.ndarray, seed: int, pitch_range: PitchRange = AS_IT_IS) -> np.ndarray:
        """Samples of mel, with the noise of a seed and F0 in a range."""
        frames = mel.shape[1]
        source = self.source(pitch_range.of(self.f0(mel)), Generator(seed).normal(frames * self.hop))
        pieces = max(1, min(self._threads, frames // SHORTEST))
        bounds = np.linspace(0, frames, pieces + 1).astype(int).tolist()
        with ThreadPoolExecutor(pieces, "mamtra-vocoder") as pool:
            later = pool.map(partial(self.wave, mel, source), bounds[1:-1], bounds[2:])
            # the first one on this thread, whose part of the C library's memory the flow has left
            samples = np.concatenate([self.wave(mel, source, *bounds[:2]), *later])
        give_back()
        return samples


class LightVocoderStream:
    """Samples block by block; see `mamtra.acoustic.vocoder_stream.VocoderStream`.

    Args:
        vocoder: the vocoder.
        seed: of its noise.
        pitch_range: of the F0 predicted.
    """

    def __init__(self, vocoder: LightVocoder, seed: int, pitch_range: PitchRange = AS_IT_IS) -> None:
        self._vocoder, self._generator, self._pitch_range = vocoder, Generator(seed), pitch_range
        self._before, self._after = vocoder.reach
        self._mel: np.ndarray | None = None
        self._source: np.ndarray | None = None
        self._noise = np.zeros(0, np.float32)
        self._phase: np.ndarray | None = None

    def push(self, mel: np.ndarray, final: bool = False) -> np.ndarray:
        """Take frames (mel, n) and return the samples that no later frame changes; `final` returns the rest."""
        vocoder, hop = self._vocoder, self._vocoder.hop
        mel = mel if self._mel is None else np.concatenate([self._mel, mel], axis=1)
        done, frames = 0 if self._source is None else self._source.shape[-1] // hop, mel.shape[1]
        ready = frames if final else frames - self._after
        self._mel = mel
        if ready <= done:
            return np.zeros(0, np.float32)
        f0 = self._pitch_range.of(vocoder.f0(mel)[done:])
        missing = (frames - done) * hop - len(self._noise)
        noise = np.concatenate([self._noise, self._generator.normal(missing)])
        source = vocoder.source(f0, noise, self._phase)
        if self._source is not None:
            source = np.concatenate([self._source, source], axis=-1)
        wave = vocoder.wave(mel, source, done, ready)
        start = max(0, ready - self._before)
        self._mel, self._source = mel[:, start:], source[..., start * hop : ready * hop]
        self._noise = noise[(ready - done) * hop :]
        self._phase = vocoder.source.phase_after(f0[: ready - done], self._phase)
        if final:
            give_back()
        return wave
