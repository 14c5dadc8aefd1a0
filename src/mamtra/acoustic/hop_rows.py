"""Voices and streams in a `HopPool`: which pages are theirs, and what each hop of theirs is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.hop_vocoder import NOISE, HopVocoder
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.errors import MamTraError
from mamtra.runtime.device import to_device


@dataclass(frozen=True)
class Hop:
    """One row of a hop, as the host sees it.

    Attributes:
        row: of the pool.
        tokens: the next ones, chunk and look-ahead; none where only the vocoder is behind.
        offset: tokens before them, those of the prompt included.
        given: which of the pool's blocks of prompt mel.
        prefix: pages in front.
        ring: pages of the window, from the oldest.
        target: page that is written.
        begin: frame of the vocoder's window at which the utterance begins.
        end: frame of the vocoder's window at which it ends.
        noise: place of the first sample to be made in the table of noise.
        heard: first of the samples made that belongs to the utterance, and the end of them.
    """

    row: int
    tokens: list[int]
    offset: int
    given: int
    prefix: list[int]
    ring: list[int]
    target: int
    begin: int = 0
    end: int = 0
    noise: int = 0
    heard: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class HopVoice:
    """The prompt of a voice, computed as far as no stream's tokens matter.

    Attributes:
        pages: of the prompt's first chunks, shared by the streams.
        rest: tokens of the prompt after them, with which a stream begins.
        states: what layers keep at their end, one row each.
        speaker: (mel,).
        given: (3, mel, frames) mel of the rest, then zeros.
        pitch_range: of what the vocoder makes.
    """

    pages: list[int]
    rest: list[int]
    states: tuple[Tensor, ...]
    speaker: Tensor
    given: Tensor
    pitch_range: PitchRange = AS_IT_IS

    @classmethod
    def make(
        cls,
        flow: Flow,
        pool: HopPool,
        tokens: list[int],
        mel: Tensor,
        embedding: Tensor,
        run: Callable[[Hop], object],
        pitch_range: PitchRange = AS_IT_IS,
    ) -> HopVoice:
        """Compute a prompt, hop by hop, in a free row.

        Args:
            flow: of the pool.
            pool: with a free row.
            tokens: of the prompt.
            mel: (frames, mel) of the prompt.
            embedding: (spk_embed_dim,).
            run: a hop of one row.
            pitch_range: of the voice.

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
            state[row].zero_()
        pool.speaker[row] = flow.speaker(embedding[None].to(like.device))[0]
        for chunk in range(chunks):
            page, first = pool.free_pages.pop(), chunk * sizes.chunk
            pool.given[row, 0] = blocks[chunk]
            given = tokens[first : first + sizes.chunk + sizes.lookahead]
            run(Hop(row, given, first, 0, list(pages), [], page))
            pages.append(page)
        states = tuple(state[row].clone() for state in pool.states)
        rest = tokens[chunks * sizes.chunk :]
        return cls(pages, rest, states, pool.speaker[row].clone(), blocks[chunks:], pitch_range)

    def place(self, pool: HopPool, rows: list[int]) -> None:
        """Let rows of the pool continue the prompt, in as many launches as one row needs."""
        at = to_device(torch.tensor(rows), pool.sound.device)
        for state, kept in zip(pool.states, self.states, strict=True):
            state[at] = kept
        pool.speaker[at] = self.speaker
        pool.given[at] = self.given
        pool.pitch_range[at] = to_device(torch.tensor(self.pitch_range), at.device)
        pool.sound.index_fill_(0, at, 0)


class HopRow:
    """A stream in the pool.

    Args:
        pool: with a free row.
        voice: whose prompt it continues.
        sound: the vocoder.
        seed: of its noise.
        placed: whether it continues the prompt from now on; else its user places it with others, see `HopVoice.place`.

    Attributes:
        row: of the pool.
        done: whether all samples were made.
        noise: place of its first sample in the table of noise.
    """

    def __init__(self, pool: HopPool, voice: HopVoice, sound: HopVocoder, seed: int, *, placed: bool = True) -> None:
        self._pool, self._voice, self._sound, self._hops, self._total = pool, voice, sound, 0, 0
        self.row, self.done = pool.free_rows.pop(), False
        self._ring = pool.ring(self.row)
        self.noise = torch.randint(NOISE, (), generator=torch.Generator().manual_seed(seed)).item()
        if placed:
            voice.place(pool, [self.row])

    @property
    def wanted(self) -> int:
        """Tokens that the next hop needs, chunk and look-ahead."""
        return self._pool.sizes.chunk + self._pool.sizes.lookahead

    def next(self, tokens: list[int], final: bool) -> Hop:
        """The next hop.

        Args:
            tokens: not computed yet, those of the prompt's rest included: at least `wanted`, or all there are.
            final: no others will come.

        Returns:
            A hop that takes a chunk of them.
        """
        sizes, sound, hops, ring = self._pool.sizes, self._sound, self._hops, self._ring
        self._hops += 1
        # Frames are counted from the first of the stream, which may belong to the prompt.
        rest, origin = len(self._voice.rest) * sizes.ratio, self._hops * sizes.frames - sound.size
        made = origin + sound.before
        total = (hops * sizes.chunk + len(tokens)) * sizes.ratio if final else origin + sound.size
        if tokens:
            self._total = total
        total, hop = self._total, sound.vocoder.config.hop
        self.done = final and total <= made + sizes.frames
        start = min(sizes.frames, max(0, rest - made))
        heard = (start * hop, max(start, min(sizes.frames, total - made)) * hop)
        where = (rest - origin, total - origin, self.noise + (made - rest) * hop, heard)
        first = len(self._voice.pages) * sizes.chunk
        if not tokens:
            return Hop(self.row, [], first, 2, [], [], 0, *where)
        seen = [ring[hop % len(ring)] for hop in range(max(0, hops - len(ring)), hops)]
        return Hop(
            self.row, tokens[: self.wanted], first + hops * sizes.chunk, min(hops, 2), self._voice.pages, seen,
            ring[hops % len(ring)], *where,
        )  # fmt: skip

    def free(self, *, damaged: bool = False) -> None:
        """Give the row back; zero its pages first where they hold what is not a number."""
        if damaged:
            self._pool.clean(self._ring)
        self._pool.free_rows.append(self.row)
