"""Layouts of text and speech in one sequence: the two of CosyVoice 2 (arXiv 2412.10117).

unistream, all text first:

    input    [sos] text_1 .. text_T [task] s_1 .. s_M
    target    -1     -1  ..    -1    s_1   s_2 .. eos

bistream, five text ids and fifteen speech tokens in turn, the last chunk shorter in text:

    input    [sos] text_1 .. text_4  text_5  s_1 .. s_14  s_15   text_6 ..        [task]  s_k  .. s_M
    target    -1     -1  ..   -1      s_1    s_2 .. s_15  fill     -1   ..         s_k  s_k+1 .. eos

Both are T + M + 2 positions long. Every input is a pair (kind, id), id being the row in the table of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mamtra.models.kinds import MIX, PAD, SOS, SPEECH, TASK, TEXT

IGNORE = -1


class Batch(NamedTuple):
    """A right-padded batch of sequences.

    Attributes:
        kind: (B, L) int64, one of PAD, SOS, TASK, TEXT, SPEECH.
        ids: (B, L) int64, rows in the kind's table; -1 at padding.
        targets: (B, L) int64, the speech token that each position predicts, or IGNORE.
        lengths: (B,) int64, valid positions.
    """

    kind: Tensor
    ids: Tensor
    targets: Tensor
    lengths: Tensor


def unistream(
    text_ids: Sequence[Sequence[int] | Tensor], speech_ids: Sequence[Sequence[int] | Tensor], *, eos_id: int = 6561
) -> Batch:
    """Sequences of utterances for training, padded to the longest.

    Args:
        text_ids: text ids of each utterance.
        speech_ids: speech tokens of each utterance.
        eos_id: target of the last position.
    """
    text, text_lengths = _pad(text_ids)
    speech, speech_lengths = _pad(speech_ids)
    length = int((text_lengths + speech_lengths).max()) + 2
    return unistream_padded(text, text_lengths, speech, speech_lengths, eos_id=eos_id, length=length)


def unistream_padded(
    text: Tensor,
    text_lengths: Tensor,
    speech: Tensor,
    speech_lengths: Tensor,
    *,
    eos_id: int = 6561,
    length: int | None = None,
) -> Batch:
    """`unistream` for padded tensors on any device; no shape depends on values, so a CUDA graph can capture it.

    Args:
        text: (B, T) integer text ids; values after the lengths are ignored.
        text_lengths: (B,).
        speech: (B, M) integer speech tokens.
        speech_lengths: (B,).
        eos_id: target of the last position.
        length: positions L of the result; T + M + 2 by default.
    """
    text, speech = text.long(), speech.long()
    length = text.shape[1] + speech.shape[1] + 2 if length is None else length
    position = torch.arange(length, device=text.device).expand(text.shape[0], -1)
    n_text, n_speech = text_lengths.long()[:, None], speech_lengths.long()[:, None]
    task = n_text + 1
    code = position - task - 1  # index of the speech token at this position

    kind = torch.full_like(position, TEXT)
    kind = kind.masked_fill(position == 0, SOS).masked_fill(position == task, TASK)
    kind = kind.masked_fill(code >= 0, SPEECH).masked_fill(code >= n_speech, PAD)

    ids = torch.where(kind == TEXT, _take(text, position - 1), _take(speech, code))
    # The rows of the special table are numbered like their kinds, and padding's id is its kind too.
    ids = torch.where((kind == TEXT) | (kind == SPEECH), ids, kind)

    targets = _take(speech, code + 1).masked_fill(code + 1 == n_speech, eos_id)
    targets = targets.masked_fill((code + 1 < 0) | (code + 1 > n_speech), IGNORE)
    return Batch(kind, ids, targets, task[:, 0] + 1 + n_speech[:, 0])


def fits_bistream(texts: int, speeches: int, mix: tuple[int, int] = MIX) -> bool:
    """Whether there is enough speech for the full chunks of the bistream layout."""
    return speeches * mix[0] > texts * mix[1]


def bistream(
    text_ids: Sequence[Sequence[int] | Tensor],
    speech_ids: Sequence[Sequence[int] | Tensor],
    *,
    eos_id: int = 6561,
    fill_id: int = 6563,
    mix: tuple[int, int] = MIX,
) -> Batch:
    """Sequences of utterances for training on text that arrives during synthesis.

    Args:
        text_ids: text ids of each utterance.
        speech_ids: speech tokens of each utterance; `fits_bistream` holds for each.
        eos_id: target of the last position.
        fill_id: target where more text is due.
        mix: text ids and speech tokens of a chunk.

    Raises:
        ValueError: an utterance has too little speech for its text.
    """
    rows = [
        _bistream_row(
            torch.as_tensor(text, dtype=torch.int64), torch.as_tensor(speech, dtype=torch.int64), eos_id, fill_id, mix
        )
        for text, speech in zip(text_ids, speech_ids, strict=True)
    ]
    kind, ids, targets = (pad_sequence(parts, True, -1.0).long() for parts in zip(*rows, strict=True))
    return Batch(kind, ids, targets, torch.tensor([len(row[0]) for row in rows]))


def _bistream_row(
    text: Tensor, speech: Tensor, eos_id: int, fill_id: int, mix: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    texts, speeches = mix
    if not fits_bistream(len(text), len(speech), mix):
        raise ValueError(f"{len(speech)} speech tokens are too few for {len(text)} text ids in the bistream layout")
    full = len(text) // texts
    taken = full * speeches
    rest_text, rest_speech = text[full * texts :], speech[taken:]
    heard = speech[:taken].view(full, speeches)
    chunks = torch.cat((text[: full * texts].view(full, texts), heard), 1).flatten()
    kinds = torch.tensor([TEXT] * texts + [SPEECH] * speeches).repeat(full)
    quiet = heard.new_full((full, texts - 1), IGNORE)
    aims = torch.cat((quiet, heard, heard.new_full((full, 1), fill_id)), 1).flatten()
    one = text.new_ones(1)
    return (
        torch.cat(
            (one * SOS, kinds, torch.full_like(rest_text, TEXT), one * TASK, torch.full_like(rest_speech, SPEECH))
        ),
        torch.cat((one * SOS, chunks, rest_text, one * TASK, rest_speech)),
        torch.cat((one * IGNORE, aims, torch.full_like(rest_text, IGNORE), rest_speech, one * eos_id)),
    )


def opened(batch: Batch, opening: Sequence[int]) -> Batch:
    """Sequences with text ids that come before every text, right behind ``[sos]`` and outside the chunks (CosyVoice 3)."""
    if not len(opening):
        return batch

    def put(values: Tensor, new: Tensor) -> Tensor:
        return torch.cat((values[:, :1], new.expand(len(values), -1), values[:, 1:]), 1)

    ids = torch.as_tensor(opening, dtype=torch.int64)
    kind, targets = torch.full_like(ids, TEXT), torch.full_like(ids, IGNORE)
    return Batch(put(batch.kind, kind), put(batch.ids, ids), put(batch.targets, targets), batch.lengths + len(ids))


def prompt(text_ids: Sequence[int] | Tensor, speech_ids: Sequence[int] | Tensor = ()) -> tuple[Tensor, Tensor]:
    """One sequence up to where generation starts, ``[sos] text [task] prompt speech``.

    Args:
        text_ids: prompt text and text together.
        speech_ids: speech tokens of the prompt.

    Returns:
        kind and ids, each (1, L) int64.
    """
    text, speech = (torch.as_tensor(ids, dtype=torch.int64).flatten() for ids in (text_ids, speech_ids))
    special = torch.tensor([SOS, TASK])
    ids = torch.cat((special[:1], text, special[1:], speech))
    kind = torch.cat((special[:1], torch.full_like(text, TEXT), special[1:], torch.full_like(speech, SPEECH)))
    return kind[None], ids[None]


def _take(table: Tensor, index: Tensor) -> Tensor:
    """``table[b, index[b, l]]``, with any valid entry where the index is out of range; zeros from an empty table."""
    if table.shape[1] == 0:
        return torch.zeros_like(index)
    return table.gather(1, index.clamp(0, table.shape[1] - 1))


def _pad(rows: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, Tensor]:
    tensors = [torch.as_tensor(row, dtype=torch.int64) for row in rows]
    return pad_sequence(tensors, batch_first=True), torch.tensor([len(row) for row in tensors])
