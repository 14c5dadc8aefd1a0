"""Generate speech tokens from text, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from mamtra.engine.sampling import ras_sample
from mamtra.engine.steps import Step
from mamtra.models.layout import prompt
from mamtra.models.sampling_config import DEFAULT_LENGTHS, LengthConfig
from mamtra.models.speech_lm import SpeechLM

Sampler = Callable[[Tensor, Sequence[int], "torch.Generator | None"], int]


class Generation(Iterator[int]):
    """A running generation: iterate over it to get tokens as they are generated.

    Attributes:
        tokens: all tokens so far.
        finish_reason: ``eos`` after a stop id, ``length`` at the greatest length, None while tokens are still to come.
        state: the model's state.
    """

    def __init__(
        self,
        lm: SpeechLM,
        kind: Tensor,
        ids: Tensor,
        *,
        min_length: int,
        max_length: int,
        generator: torch.Generator | None,
        sampler: Sampler,
        step: Step,
    ) -> None:
        self.tokens: list[int] = []
        self.finish_reason: Literal["eos", "length"] | None = None
        self._lm = lm
        self._config = lm.config
        self._bounds = (min_length, max_length)
        self._generator = generator
        self._sampler = sampler
        self._step = step
        with torch.inference_mode():
            device = lm.llm_decoder.weight.device
            self.state = lm.init_state(1, ids.shape[1] + max_length)
            hidden = lm(lm.embed(kind.to(device), ids.to(device)), self.state)
            self._logits = lm.logits(hidden[0, -1])

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> int:
        if self.finish_reason is not None:
            raise StopIteration
        shortest, longest = self._bounds
        count = len(self.tokens)
        if count >= longest:
            self.finish_reason = "length"
            raise StopIteration
        # Entered at each step: a mode that stayed on between steps would apply to the caller's code too.
        with torch.inference_mode():
            if count:
                self._logits = self._step(self._lm.speech_embedding.weight[self.tokens[-1], None], self.state)[0]
            if count < shortest:
                self._logits[self._config.eos_id] = float("-inf")
            token = self._sampler(self._logits, self.tokens, self._generator)
        if token >= self._config.eos_id:
            self.finish_reason = "eos"
            raise StopIteration
        self.tokens.append(token)
        return token


def generate(
    lm: SpeechLM,
    text_ids: Sequence[int] | Tensor,
    prompt_text_ids: Sequence[int] | Tensor = (),
    prompt_speech: Sequence[int] | Tensor = (),
    *,
    generator: torch.Generator | None = None,
    lengths: LengthConfig = DEFAULT_LENGTHS,
    sampler: Sampler = ras_sample,
    step: Step | None = None,
) -> Generation:
    """Generate speech tokens for a text that continues a prompt: prefill ``[sos] prompt text, text [task] prompt speech``,
    then decode step by step.

    The rules are CosyVoice 2's: eos (and no other id) is masked before ``lengths.shortest`` tokens, eos and the ids above it
    stop, and there are at most ``lengths.longest`` tokens. The prefill runs in this call, the steps while
    iterating.

    Args:
        lm: the model, in evaluation mode.
        text_ids: ids of the text to speak; only they count for the lengths.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        generator: CPU generator of the sampler; equal seeds give equal tokens.
        lengths: how many tokens there may be.
        sampler: `ras_sample`, `greedy`, or another of their shape.
        step: the decode step, see `mamtra.engine.steps`; eager by default.

    Returns:
        An iterator of tokens (0 .. num_speech_tokens - 1) that knows its ``finish_reason`` at the end.
    """
    text = torch.as_tensor(text_ids, dtype=torch.int64).flatten()
    before = torch.as_tensor(prompt_text_ids, dtype=torch.int64).flatten()
    kind, ids = prompt(torch.cat((before, text)), prompt_speech)
    return Generation(
        lm,
        kind,
        ids,
        min_length=lengths.shortest(len(text)),
        max_length=lengths.longest(len(text)),
        generator=generator,
        sampler=sampler,
        step=step or lm.next_logits,
    )
