"""Which earlier positions the streaming flow sees: all of them, or those of the prompt and of a window.

A window bounds the memory of a stream and the time of a hop. It is counted back from the chunk of the query, not from the hop, so
the mel does not depend on how the tokens are cut into hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mamtra.acoustic.flow_history import check_history
from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.acoustic.causal_flow import CausalFlowConfig


@dataclass(frozen=True)
class Span:
    """What a query sees: its own chunk, the window before it, and a prefix of the stream.

    Attributes:
        chunk: length of a chunk in positions.
        window: positions before the query's chunk; None sees all.
        prefix: first positions of the stream, which are seen whatever the window.
    """

    chunk: int
    window: int | None = None
    prefix: int = 0

    @classmethod
    def of(cls, config: CausalFlowConfig, prompt: int, history: int = 0, sinks: int = 0) -> Span:
        """The span of a stream, in tokens.

        The prefix is what streams with one voice share: the chunks of the prompt whose look-ahead is in the prompt. The rest of the
        prompt is part of the window as what follows it is.

        Args:
            config: of the flow.
            prompt: tokens of the prompt.
            history: mel frames of the window, 0 for all.
            sinks: mel frames after the prompt's chunks that belong to the prefix.

        Raises:
            MamTraError: the window is smaller than a chunk, or one of the two is negative or does not end with a token.
        """
        ratio, chunk = config.token_mel_ratio, config.chunk_size
        check_history(history, chunk, ratio)
        if sinks < 0 or sinks % ratio:
            raise MamTraError(f"The flow cannot keep {sinks} first frames; use a multiple of {ratio} from 0 on.")
        if history == 0:
            return cls(chunk)
        complete = max(0, (prompt - config.pre_lookahead_len) // chunk) * chunk
        return cls(chunk, history // ratio, complete + sinks // ratio)

    def at(self, chunk: int) -> Span:
        """The same at another rate, with so many positions a chunk."""
        window = None if self.window is None else self.window * chunk // self.chunk
        return Span(chunk, window, self.prefix * chunk // self.chunk)

    def runs(self, size: int, offset: int) -> list[range]:
        """Positions of the keys for `size` new positions of which `offset` came before: those that are kept, and the new ones."""
        end = offset + size
        if self.window is None or offset - self.window <= self.prefix:
            return [range(end)]
        kept = range(offset - self.window, end)
        return [range(self.prefix), kept] if self.prefix else [kept]

    def visible(self, size: int, offset: int, device: torch.device) -> Tensor | None:
        """Who sees whom.

        Args:
            size: new positions T.
            offset: positions before them, a multiple of the chunk.
            device: where to build it.

        Returns:
            (T, keys) bool for the keys of `runs`, True visible; None where all are.
        """
        if size <= self.chunk:
            return None
        key = torch.cat([torch.arange(run.start, run.stop, device=device) for run in self.runs(size, offset)])
        query = torch.arange(offset, offset + size, device=device)[:, None]
        begin = torch.div(query, self.chunk, rounding_mode="floor") * self.chunk
        seen = key < begin + self.chunk
        return seen if self.window is None else seen & ((key < self.prefix) | (key >= begin - self.window))

    def keep(self, blocks: Sequence[Tensor], dim: int) -> tuple[Tensor, ...]:
        """What later chunks see of the first positions of a stream.

        Args:
            blocks: tensors of all its positions that are kept so far, in their order along `dim`; nobody may write to them.
            dim: of the positions.

        Returns:
            The blocks of the prefix and of the window; those that are only partly in them are copied.
        """
        if self.window is None:
            return tuple(blocks)
        behind = sum(block.shape[dim] for block in blocks)
        kept, at = [], 0
        for block in blocks:
            size, behind = block.shape[dim], behind - block.shape[dim]
            first, last = min(size, max(0, self.prefix - at)), min(size, max(0, self.window - behind))
            if first + last >= size:
                kept.append(block)
            else:
                parts = (block.narrow(dim, 0, first), block.narrow(dim, size - last, last))
                kept += [part.clone() for part in parts if part.shape[dim]]
            at += size
        return tuple(kept)
