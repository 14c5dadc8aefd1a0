"""Voices and streams in a `HopPool`: which pages are theirs, and what each hop of theirs is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hop_pool import HopPool
from mamtra.errors import MamTraError


@dataclass(frozen=True)
class Hop:
    """One row of a hop, as the host sees it.

    Attributes:
        row: of the pool.
        tokens: the next ones, chunk and look-ahead.
        fresh: how many of them belong to the chunk.
        offset: tokens before them, those of the prompt included.
        given: which of the pool's blocks of prompt mel.
        prefix: pages in front.
        ring: pages of the window, from the oldest.
        target: page that is written.
        begin: frame of the vocoder's window at which the utterance begins.
        end: frame of the vocoder's window at which it ends.
        noise: place of the window's first sample to be made in the table of noise.
    """

    row: int
    tokens: list[int]
    fresh: int
    offset: int
    given: int
    prefix: list[int]
    ring: list[int]
    target: int
    begin: int = 0
    end: int = 0
    noise: int = 0


@dataclass(frozen=True)
class HopVoice:
    """The prompt of a voice, computed as far as no stream's tokens matter.

    Attributes:
        pages: of the prompt's first chunks, shared by the streams.
        rest: tokens of the prompt after them, with which a stream begins.
        states: what layers keep at their end, one row each.
        speaker: (mel,).
        given: (3, mel, frames) mel of the rest, then zeros.
    """

    pages: list[int]
    rest: list[int]
    states: tuple[Tensor, ...]
    speaker: Tensor
    given: Tensor

    @classmethod
    def make(
        cls, flow: Flow, pool: HopPool, tokens: list[int], mel: Tensor, embedding: Tensor, run: Callable[[Hop], object]
    ) -> HopVoice:
        """Compute a prompt, hop by hop, in a free row.

        Args:
            flow: of the pool.
            pool: with a free row.
            tokens: of the prompt.
            mel: (frames, mel) of the prompt.
            embedding: (spk_embed_dim,).
            run: a hop of one row.

        Raises:
            MamTraError: too few pages are free.
        """
        sizes, like = pool.sizes, pool.given
        chunks = sizes.prefix_chunks(len(tokens))
        if chunks > len(pool.free_pages):
            raise MamTraError(
                f"The prompt needs {chunks} pages of the flow's memory and {len(pool.free_pages)} are free; use a shorter prompt, "
                "or give the prompts more pages."
            )
        blocks = like.new_zeros(chunks + 3, sizes.frames, sizes.mel)
        blocks.flatten(0, 1)[: len(mel)] = mel.to(like)
        blocks = blocks.transpose(1, 2)
        row, pages = pool.free_rows[-1], list[int]()
        for state in pool.states:
            state[row] = 0
        pool.speaker[row] = flow.speaker(embedding[None].to(like.device))[0]
        for chunk in range(chunks):
            page, first = pool.free_pages.pop(), chunk * sizes.chunk
            pool.given[row, 0] = blocks[chunk]
            run(
                Hop(
                    row,
                    tokens[first : first + sizes.chunk + sizes.lookahead],
                    sizes.chunk,
                    first,
                    0,
                    list(pages),
                    [],
                    page,
                )
            )
            pages.append(page)
        states = tuple(state[row].clone() for state in pool.states)
        return cls(pages, tokens[chunks * sizes.chunk :], states, pool.speaker[row].clone(), blocks[chunks:])


class HopRow:
    """A stream in the pool.

    Args:
        pool: with a free row and the pages of one stream.
        voice: whose prompt it continues.

    Attributes:
        row: of the pool.
        offset: tokens computed so far, those of the prompt included.
    """

    def __init__(self, pool: HopPool, voice: HopVoice) -> None:
        self._pool, self._voice = pool, voice
        self.row = pool.free_rows.pop()
        self._ring = [pool.free_pages.pop() for _ in range(pool.sizes.ring)]
        self._first = len(voice.pages) * pool.sizes.chunk
        self._hops = 0
        for state, kept in zip(pool.states, voice.states, strict=True):
            state[self.row] = kept
        pool.speaker[self.row] = voice.speaker
        pool.given[self.row] = voice.given
        pool.sound[self.row] = 0

    @property
    def offset(self) -> int:
        return self._first + self._hops * self._pool.sizes.chunk

    def next(self, tokens: list[int]) -> Hop:
        """The next hop, with the tokens of its chunk and of its look-ahead, fewer at the end."""
        sizes, hops, ring = self._pool.sizes, self._hops, self._ring
        seen = [ring[hop % len(ring)] for hop in range(max(0, hops - len(ring)), hops)]
        made = Hop(
            self.row, tokens[: sizes.chunk + sizes.lookahead], min(len(tokens), sizes.chunk), self.offset, min(hops, 2),
            self._voice.pages, seen, ring[hops % len(ring)],
        )  # fmt: skip
        self._hops += 1
        return made

    def free(self, *, damaged: bool = False) -> None:
        """Give row and pages back; zero them first where they hold what is not a number."""
        if damaged:
            self._pool.clean(self._ring)
        self._pool.free_rows.append(self.row)
        self._pool.free_pages.extend(self._ring)
