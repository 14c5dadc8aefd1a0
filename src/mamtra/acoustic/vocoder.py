"""What all vocoders have in common: F0 from mel, an excitation from F0, and samples from mel and excitation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mamtra.acoustic.masks import valid_positions
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.runtime.cuda_graphs import GraphCache

V = TypeVar("V", bound="Vocoder")


class Synthesis(NamedTuple):
    """Waveform (B, hop*T) and the excitation (B, C, hop*T) it was made from, whose tail the next chunk needs."""

    wave: Tensor
    source: Tensor


class Vocoder(nn.Module, ABC):
    """A vocoder over an F0 predictor and a source of excitation, which classes below it make.

    Args:
        config: with `in_channels` and `hop`, the samples for each mel frame.
    """

    m_source: nn.Module
    f0_predictor: nn.Module

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self._graphs: GraphCache | None = None

    @abstractmethod
    def receptive_field(self) -> tuple[int, int]:
        """Mel frames before and after it that a sample depends on."""

    @abstractmethod
    def _decode(self, mel: Tensor, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`decode` without captured graphs."""

    def noise(self, generator: torch.Generator) -> Callable[[int], Tensor]:
        """The noise of an utterance: a function that returns the next n samples (1, n, 1) on the CPU.

        It is drawn there from `generator`, so that a seed means the same on every device.
        """
        return lambda count: torch.randn(1, count, 1, generator=generator)

    def use_graphs(self, graphs: GraphCache) -> None:
        """Run `predict_f0` and `decode` through captured graphs in inference, from now on; training stays eager."""
        self._graphs = graphs

    def remove_weight_norm(self: V) -> V:
        """Fold every weight norm into a plain weight, for faster inference; names in the state dict change."""
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        return self

    def predict_f0(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict F0 in Hz (B, T), float32, from mel (B, in_channels, T); `lengths` as in `decode`."""
        return self._run(self._predict_f0, mel, lengths)

    def source(
        self,
        f0: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        phase: Tensor | None = None,
    ) -> Tensor:
        """Make the excitation (B, C, hop*T) of F0 (B, T) in Hz; the other arguments as in `SineSource.forward`."""
        return self.m_source(f0, noise, generator, phase)

    def decode(self, mel: Tensor, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Turn mel and excitation into a waveform; differentiable, and without a host synchronisation.

        Args:
            mel: (B, in_channels, T).
            source: (B, C, hop*T), as `source` makes it.
            lengths: (B,) int64 frames of each row, which then sounds as it does alone; None when all are full.

        Returns:
            (B, hop*T) float32 within +-audio_limit; zero beyond `lengths`.
        """
        return self._run(self._decode, mel, source, lengths)

    def _run(self, function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """Call a function of tensors, of which the last may be None, through captured graphs if there are any."""
        if self._graphs is None:
            return function(*inputs)
        given = [value for value in inputs if value is not None]
        return self._graphs(function.__name__, lambda *tensors: (function(*tensors),), given)[0]

    def _predict_f0(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.f0_predictor(mel, None if lengths is None else valid_positions(lengths, mel.shape[2])[:, None])

    def forward(
        self, mel: Tensor, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Resynthesise for training.

        Args:
            mel: (B, in_channels, T).
            noise: as in `source`.
            generator: as in `source`.

        Returns:
            Waveform (B, hop*T) and F0 (B, T) in Hz; the waveform's gradient does not reach the F0 predictor.
        """
        f0 = self.predict_f0(mel)
        return self.decode(mel, self.source(f0, noise, generator)), f0

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        *,
        source_cache: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        lengths: Tensor | None = None,
        pitch_range: PitchRange = AS_IT_IS,
    ) -> Synthesis:
        """Turn mel into a waveform, continuing the excitation of the previous chunk if given.

        Args:
            mel: (B, in_channels, T); when streaming, it starts with the last frames of the previous chunk.
            source_cache: (B, 1, S) tail of the previous chunk's excitation (CosyVoice 2: 8 frames, 3840 samples), which
                replaces the first S samples, so that the phase is continuous.
            noise: as in `source`.
            generator: as in `source`.
            lengths: as in `decode`.
            pitch_range: of the F0 predicted.

        Returns:
            Waveform and the excitation it was made from.
        """
        source = self.source(pitch_range.of(self.predict_f0(mel, lengths)), noise, generator)
        if source_cache is not None:
            source = torch.cat([source_cache.to(source), source[:, :, source_cache.shape[2] :]], dim=2)
        return Synthesis(self.decode(mel, source, lengths), source)

    def inference(
        self,
        mel: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        lengths: Tensor | None = None,
        pitch_range: PitchRange = AS_IT_IS,
    ) -> Tensor:
        """Turn mel (B, in_channels, T) into a waveform (B, hop*T); arguments as in `synthesize`."""
        made = self.synthesize(mel, noise=noise, generator=generator, lengths=lengths, pitch_range=pitch_range)
        return made.wave
