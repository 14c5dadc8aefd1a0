"""Conditional flow matching: Euler sampling with classifier-free guidance, and the training objective.

Lipman et al. 2023 (optimal-transport paths), Ho and Salimans 2022 (guidance); schedule and constants of CosyVoice 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from mamtra.acoustic.dit import DiT
from mamtra.acoustic.estimator import Estimator
from mamtra.acoustic.flow_steps import check_steps
from mamtra.acoustic.graphs import GraphedEstimator
from mamtra.acoustic.stream_cache import StreamCache
from mamtra.errors import MamTraError
from mamtra.runtime.cuda_graphs import GraphCache

NOISE_FRAMES = 15000


@lru_cache(maxsize=2)
@torch.inference_mode(False)
def fixed_noise(mels: int) -> Tensor:
    """The noise that every synthesis starts from: standard normal of seed 0, 300 s long, of which the first frames are used.

    The buffer is always sampled in full, since a shorter sample of the same seed differs. The global generator is not used.

    Returns:
        (1, mels, 15000) float32 on the CPU; shared, read-only.
    """
    return torch.randn(1, mels, NOISE_FRAMES, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def fixed_noise_on(device: torch.device, mels: int) -> Tensor:
    """`fixed_noise` kept on a device, so that it is copied there once; shared, read-only."""
    return fixed_noise(mels).to(device)


def cosine_schedule(u: Tensor) -> Tensor:
    """Map uniform progress in [0, 1] to flow time 1 - cos(pi u / 2), which is dense near the noise."""
    return 1 - torch.cos(u * 0.5 * math.pi)


class FlowMatching(nn.Module):
    """The probability path around a vector field.

    Args:
        estimator: the vector field.
        sigma_min: width of the path at t = 1.
        guidance: default weight g of classifier-free guidance, (1 + g) conditional - g unconditional.
        trained_steps: how many steps a few-step flow can take; it has no guidance.
    """

    def __init__(
        self, estimator: Estimator | DiT, sigma_min: float, guidance: float, trained_steps: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.sigma_min, self.guidance, self.trained_steps = sigma_min, guidance, tuple(trained_steps)
        self._graphed: Callable[..., Tensor] | None = None

    def use_graphs(self, graphs: GraphCache) -> None:
        """Run the estimator in `sample` through captured graphs; `graphs` may serve nothing else."""
        self.run_by(GraphedEstimator(self.estimator, graphs))

    def run_by(self, estimate: Callable[..., Tensor]) -> None:
        """Let a function of its arguments run the estimator in `sample`."""
        self._graphed = estimate

    def sample(
        self,
        mu: Tensor,
        valid: Tensor | None,
        spks: Tensor,
        cond: Tensor,
        *,
        steps: int,
        guidance: float | None = None,
        noise: Tensor | None = None,
        chunk: int = 0,
        cache: StreamCache | None = None,
        offset: int = 0,
        path: list[Tensor] | None = None,
    ) -> Tensor:
        """Integrate the vector field from noise to mel with Euler steps.

        Args:
            mu: (B, mel, T) encoder output.
            valid: (B, T) bool, or None when nothing is padded.
            spks: (B, mel) projected speaker embedding.
            cond: (B, mel, T) prompt mel.
            steps: Euler steps.
            guidance: overrides the default weight; 0 runs the conditional branch only.
            noise: (B or 1, mel, at least offset + T) standard normal; None takes `fixed_noise`.
            chunk: chunk length in frames; 0 attends everywhere.
            cache: of a stream, one slot for each step; see `Estimator`.
            offset: frames of the stream before these.
            path: gets the mel (B, mel, T) after each step.

        Returns:
            (B, mel, T) float32.

        Raises:
            MamTraError: `noise` is shorter than the mel, or the mel longer than the fixed noise, or the flow cannot take so many
                steps or has no guidance.
        """
        check_steps(steps, self.trained_steps)
        frames = offset + mu.shape[2]
        noise = fixed_noise_on(mu.device, mu.shape[1]) if noise is None else noise
        if noise.shape[2] < frames:
            raise MamTraError(
                f"The utterance has {frames} mel frames with its prompt but the noise only {noise.shape[2]}; "
                "split the text into shorter pieces or pass longer noise."
            )
        guidance = self.guidance if guidance is None else guidance
        if guidance and self.trained_steps:
            raise MamTraError("A few-step flow has the guidance of its teacher learned; leave guidance out.")
        x = noise[:, :, offset:frames].to(mu.device, torch.float32).expand(mu.shape[0], -1, -1)
        twice = guidance != 0
        if twice:
            mu, spks, cond = (torch.cat([value, torch.zeros_like(value)]) for value in (mu, spks, cond))
            valid = None if valid is None else valid.repeat(2, 1)
        estimate = self._graphed or self.estimator
        for step, (time, dt) in enumerate(self.times(steps, mu.device)):
            if cache is not None:
                cache.slot = step
            both = torch.cat([x, x]) if twice else x
            times = time.expand(mu.shape[0], *time.shape)
            slope = estimate(both.to(mu.dtype), valid, mu, times, spks, cond, chunk, cache, offset).float()
            if twice:
                given, free = slope.chunk(2)
                slope = (1 + guidance) * given - guidance * free
            x = x + dt * slope
            if path is not None:
                path.append(x)
        if cache is not None:
            cache.slot = 0
        return x

    def times(self, steps: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """What the estimator is told of the time of each step, a scalar or (2,) time and length of it; and the length."""
        grid = cosine_schedule(torch.linspace(0, 1, steps + 1, device=device))
        t = grid[0]
        for following in grid[1:]:
            dt = following - t
            yield torch.stack([t, dt]) if self.trained_steps else t, dt
            t = t + dt

    def loss(
        self,
        target: Tensor,
        valid: Tensor,
        mu: Tensor,
        spks: Tensor,
        cond: Tensor,
        *,
        t: Tensor,
        noise: Tensor,
        keep: Tensor,
        chunk: int = 0,
    ) -> Tensor:
        """Mean squared error of the vector field over the valid frames.

        Args:
            target: (B, mel, T) mel.
            valid: (B, T) bool.
            mu: (B, mel, T) encoder output.
            spks: (B, mel).
            cond: (B, mel, T).
            t: (B,) flow times.
            noise: (B, mel, T) standard normal.
            keep: (B,) 1 keeps the conditions, 0 drops them all (training for guidance).
            chunk: chunk length in frames; 0 attends everywhere.

        Returns:
            Scalar float32.
        """
        target, noise = target.float(), noise.float()
        at, kept = t.float()[:, None, None], keep.to(mu.dtype)
        x = (1 - (1 - self.sigma_min) * at) * noise + at * target
        slope = target - (1 - self.sigma_min) * noise
        wide = kept[:, None, None]
        found = self.estimator(x, valid, mu * wide, t, spks * kept[:, None], cond * wide, chunk)
        error = (found.float() - slope).square() * valid[:, None]
        return error.sum() / (valid.sum() * target.shape[1])
