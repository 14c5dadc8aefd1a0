"""The distillation of a flow to few steps: the student learns the teacher's average velocity over each of its own steps.

With MeanFlow (Geng et al. 2025, arXiv 2505.13447) a network u(x, t, r) is the average of dx/dt from time t to time r, so that one
evaluation takes a whole step: x(r) = x(t) + (r - t) u. As in IntMeanFlow (arXiv 2510.07979) the average is not found by derivatives
but from the path of a teacher, which is integrated with guidance in small Euler steps:

    u* = (X(r) - x) / (r - t)        X the teacher's mel at time r, x the student's own at time t

x is where the student's earlier steps have led, not the teacher's mel, so that a step corrects what those before it missed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.acoustic.flow_matching import cosine_schedule, fixed_noise_on
from mamtra.distill.compile import Captured
from mamtra.distill.flow_batches import FlowBatches, VoiceTable
from mamtra.distill.flow_settings import FlowDistillConfig
from mamtra.distill.optimiser import Optimiser


def make_few_step_flow(teacher: CausalFlow, steps: tuple[int, ...]) -> CausalFlow:
    """A flow that takes so many steps, with the weights of its teacher; untrained, it moves as the teacher without guidance."""
    changes = {"trained_steps": steps, "inference_cfg_rate": 0.0}
    flow = type(teacher)(type(teacher.config).model_validate(teacher.config.model_dump() | changes))
    weights = flow.state_dict() | {name: value.detach().clone().float() for name, value in teacher.state_dict().items()}
    flow.load_state_dict(weights)
    return flow.to(next(teacher.parameters()).device)


class FlowStep:
    """Forward and backward pass of a batch and the update, as CUDA graphs if the settings say so.

    Args:
        config: settings.
        teacher: without gradients.
        student: whose estimator is trained.
        voices: to condition on.
        optimiser: of the student's estimator.

    Attributes:
        sums: (1 + number of flow_steps,) float32, over the batches since they were read: the mean squared error of the velocity,
            and that of the mel after so many steps.
        count: batches since then.
    """

    def __init__(
        self,
        config: FlowDistillConfig,
        teacher: CausalFlow,
        student: CausalFlow,
        voices: VoiceTable,
        optimiser: Optimiser,
    ) -> None:
        self._config, self._teacher, self._student, self._voices = config, teacher, student, voices
        self._optimiser, self._device = optimiser, optimiser.gradient.device
        self.sums, self.count = torch.zeros(1 + len(config.flow_steps), device=self._device), 0
        graphs = config.run.cuda_graph and self._device.type == "cuda"
        self._graphs = graphs
        self._add = {
            chunked: Captured(self._chunked if chunked else self._whole, self._device, graphs=graphs)
            for chunked in (False, True)
        }
        self._update = Captured(optimiser.update, self._device, graphs=graphs)

    def __call__(self, batch: dict[str, Tensor], *, chunked: bool) -> None:
        """Train on a batch of `FlowBatches`, attending by chunks or everywhere."""
        self._add[chunked](**batch)
        self._update()
        self.count += 1

    def capture(self, batches: FlowBatches) -> None:
        """Capture the graphs of all kinds of batches; weights, moments and sums are the same afterwards."""
        if not self._graphs:
            return
        optimiser = self._optimiser
        kept = optimiser.failed_at.clone(), optimiser.count.clone(), self.sums.clone()
        for length in sorted(set(self._config.batch.lengths)):
            for captured in self._add.values():
                captured.capture(**batches.blank(length))
        optimiser.failed_at.zero_()  # after a failed update the next ones leave the weights unchanged
        self._update.capture()
        optimiser.gradient.zero_()
        for place, value in zip((optimiser.failed_at, optimiser.count, self.sums), kept, strict=True):
            place.copy_(value)
        torch.cuda.empty_cache()

    def means(self) -> dict[str, float]:
        """Mean errors since the last call."""
        names = ["velocity", *(f"mel_{steps}" for steps in self._config.flow_steps)]
        found = {name: total / max(1, self.count) for name, total in zip(names, self.sums.tolist(), strict=True)}
        self.sums.zero_()
        self.count = 0
        return found

    # Everything below stays on the device.

    def _whole(self, token: Tensor, voice: Tensor, prompt: Tensor, fixed: Tensor) -> None:
        self._backward(0, token, voice, prompt, fixed)

    def _chunked(self, token: Tensor, voice: Tensor, prompt: Tensor, fixed: Tensor) -> None:
        self._backward(self._teacher.config.chunk_size, token, voice, prompt, fixed)

    def _backward(self, chunk: int, token: Tensor, voice: Tensor, prompt: Tensor, fixed: Tensor) -> None:
        """Add the gradient of a batch."""
        teacher, ratio, n = self._teacher, self._teacher.config.token_mel_ratio, self._config.teacher_steps
        frames, mels = ratio * token.shape[1], teacher.config.output_size
        with torch.no_grad(), self._autocast():
            cond, embedding = self._voices.conditions(voice, prompt, frames)
            mu = teacher.encode(teacher.input_embedding(token), chunk=chunk).float().contiguous()
            spks = teacher.speaker(embedding).float()
            noise = torch.randn(len(token), mels, frames, device=mu.device)
            noise = torch.where(fixed[:, None, None] > 0, fixed_noise_on(mu.device, mels)[:, :, :frames], noise)
            path: list[Tensor] = []
            teacher.decoder.sample(mu, None, spks, cond, steps=n, noise=noise, chunk=ratio * chunk, path=path)
        total, found = torch.zeros((), device=mu.device), []
        for steps in self._config.flow_steps:
            grid = cosine_schedule(torch.linspace(0, 1, steps + 1, device=mu.device))
            x = noise
            for step in range(steps):
                goal, t, dt = path[(step + 1) * n // steps - 1], grid[step], grid[step + 1] - grid[step]
                times = torch.stack([t, dt]).expand(len(token), 2)
                with self._autocast():
                    mean = self._student.decoder.estimator(x, None, mu, times, spks, cond, ratio * chunk).float()
                total = total + F.mse_loss(mean, (goal - x) / dt) / steps
                x = x + dt * mean.detach()
            found.append(F.mse_loss(x, path[-1]))
        total = total / len(self._config.flow_steps)
        total.backward()
        self.sums.add_(torch.stack([total.detach(), *found]))

    def _autocast(self) -> torch.autocast:
        half = self._config.run.precision == "bf16"
        # weights that are cast within a graph belong to it, so that nothing may be kept of them
        return torch.autocast(self._device.type, torch.bfloat16, enabled=half, cache_enabled=False)
