"""What a hop and the memory of streams depend on."""

from __future__ import annotations

from dataclasses import dataclass

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.flow_steps import check_steps
from mamtra.acoustic.history import Span
from mamtra.errors import MamTraError

MOST_UNREAD = 0.25
"""Of a prompt, that hops may leave out."""


@dataclass(frozen=True)
class HopSizes:
    """Sizes that are fixed when buffers are made; a hop is one chunk of the flow.

    Attributes:
        chunk: tokens of a hop.
        ratio: mel frames for each token.
        lookahead: tokens after a hop that it reads.
        mel: mel bins.
        steps: evaluations of the vector field.
        branches: 2 with guidance, else 1.
        window: tokens before a hop that its stream sees besides the prefix.
        ring: pages of a stream, of one chunk each.
    """

    chunk: int
    ratio: int
    lookahead: int
    mel: int
    steps: int
    branches: int
    window: int
    ring: int

    @classmethod
    def of(cls, flow: Flow, *, history: int, steps: int, guidance: float | None = None) -> HopSizes:
        """Sizes for a flow.

        Args:
            flow: of CosyVoice 2's kind.
            history: mel frames of the window.
            steps: evaluations of the vector field.
            guidance: None takes the configuration's.

        Raises:
            MamTraError: the flow is of another kind, keeps no such window or cannot take so many steps.
        """
        if not isinstance(flow, Flow) or history == 0:
            raise MamTraError("Hops need the flow of CosyVoice 2 and a bounded history; set flow_history, such as 100.")
        check_steps(steps, flow.decoder.trained_steps)
        config = flow.config
        window = Span.of(config, 0, history).window
        weight = flow.decoder.guidance if guidance is None else guidance
        return cls(
            config.chunk_size, config.token_mel_ratio, config.pre_lookahead_len, config.output_size, steps,
            2 if weight else 1, window, -(-window // config.chunk_size),
        )  # fmt: skip

    @property
    def frames(self) -> int:
        """Mel frames of a hop."""
        return self.chunk * self.ratio

    @property
    def hidden(self) -> int:
        """Tokens of the oldest page of a full ring that are outside the window."""
        return self.ring * self.chunk - self.window

    def unread(self, prompt: int) -> int:
        """Tokens at the start of a prompt of so many that hops leave out, so that the end of the prompt takes up no more than two
        fifths of a stream's first hop: the listener then hears it sooner, and never less than the rest of it."""
        rest = prompt - self.prefix_chunks(prompt) * self.chunk
        found = max(0, rest - max(self.lookahead, 2 * self.chunk // 5))
        return found if found <= MOST_UNREAD * prompt else 0

    def prefix_chunks(self, prompt: int) -> int:
        """Chunks of a prompt of so many tokens whose look-ahead is in the prompt: what streams with one voice share."""
        return max(0, prompt - self.lookahead) // self.chunk
