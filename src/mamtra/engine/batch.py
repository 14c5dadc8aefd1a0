"""Generate speech tokens for a batch of texts, each row until it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mamtra.engine.steps import batch_step
from mamtra.models.layout import PAD, prompt
from mamtra.models.speech_lm import SpeechLM

RowSampler = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, V) and the tokens so far (B, n) to the next ids (B,) int64."""
_SYNC_INTERVAL = 16
"""Steps between two checks of whether all rows have ended: a check waits for the device."""


class Row(NamedTuple):
    """Speech tokens (0 .. num_speech_tokens - 1) of one text, and why they end: "eos" or "length"."""

    tokens: list[int]
    finish_reason: Literal["eos", "length"]


@torch.no_grad()
def generate_batch(
    lm: SpeechLM,
    texts: Sequence[Sequence[int] | Tensor],
    prompt_text_ids: Sequence[int] | Tensor = (),
    prompt_speech: Sequence[int] | Tensor = (),
    *,
    shortest: Sequence[int],
    longest: Sequence[int],
    sampler: RowSampler,
) -> list[Row]:
    """Generate for several texts after the same prompt, by the rules of `mamtra.engine.generate.generate`.

    Args:
        lm: the model.
        texts: text ids of each row.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        shortest: for each row, the number of tokens before eos may be drawn.
        longest: for each row, the greatest number of tokens.
        sampler: draws for all rows at once; what it draws for rows that have ended is dropped.

    Returns:
        One result a row.
    """
    device, stop = lm.head_weight.device, lm.config.eos_id
    before = torch.as_tensor(prompt_text_ids, dtype=torch.int64).flatten()
    starts = [
        prompt(torch.cat((before, torch.as_tensor(t, dtype=torch.int64).flatten())), prompt_speech) for t in texts
    ]
    kind, ids = (
        pad_sequence([s[i][0] for s in starts], batch_first=True, padding_value=PAD).to(device) for i in (0, 1)
    )
    lengths = torch.tensor([s[0].shape[1] for s in starts], device=device)
    least, most = torch.tensor(shortest, device=device), torch.tensor(longest, device=device)
    state = lm.init_state(len(starts), kind.shape[1] + max(longest), device)
    hidden = lm(lm.embed(kind, ids), state, lengths)
    logits = lm.logits(hidden[torch.arange(len(starts), device=device), lengths - 1])
    step = batch_step(lm, state)
    tokens = torch.full((len(starts), max(longest)), stop, device=device)
    ended = torch.zeros(len(starts), dtype=torch.bool, device=device)
    for position in range(max(longest)):
        logits[:, stop] = logits[:, stop].masked_fill(position < least, float("-inf"))
        drawn = sampler(logits, tokens[:, :position])
        ended = ended | (drawn >= stop) | (position >= most)
        drawn = torch.where(ended, stop, drawn)
        tokens[:, position] = drawn
        if position % _SYNC_INTERVAL == _SYNC_INTERVAL - 1 and bool(ended.all()):
            break
        if position + 1 < max(longest):
            logits = step(lm.speech_embedding(drawn))
    found = []
    for row, limit in zip(tokens.tolist(), longest, strict=True):
        end = row.index(stop) if stop in row else len(row)
        found.append(Row(row[:end], "eos" if end < limit else "length"))
    return found
