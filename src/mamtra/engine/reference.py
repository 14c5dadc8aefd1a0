"""Generate speech tokens one at a time, written out plainly: what the engine is tested against.

Of a text that is there (`generate`), and of one that is still arriving (`generate_bistream`): the bistream layout of CosyVoice 2
(arXiv 2412.10117), five text ids, fifteen tokens, and so on, then ``[task]`` and the rest of the text once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from mamtra.engine.sampling import ras_sample
from mamtra.engine.steps import Step
from mamtra.models.layout import SOS, SPEECH, TASK, TEXT, prompt
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


_HEADROOM = 256
"""Positions of the state beyond the prompt at the start; it grows when they are used up."""


class BistreamGeneration(Iterator[int]):
    """A running generation: iterate over it to get tokens; it asks for more text ids when it needs them.

    Attributes:
        tokens: all tokens so far.
        finish_reason: ``eos`` after a stop id, ``length`` at the greatest length, None while tokens are still to come.
        state: the model's state; a new object whenever it had to grow.
    """

    def __init__(
        self,
        lm: SpeechLM,
        text_ids: Iterable[int],
        prompt_text_ids: Sequence[int],
        prompt_speech: Sequence[int],
        *,
        lengths: LengthConfig,
        generator: torch.Generator | None,
        sampler: Sampler,
        step: Step,
    ) -> None:
        self.tokens: list[int] = []
        self.finish_reason: Literal["eos", "length"] | None = None
        self._lm, self._config, self._mix = lm, lm.config, lm.config.mix_ratio
        self._lengths, self._generator, self._sampler, self._step = lengths, generator, sampler, step
        self.state = lm.init_state(1, len(prompt_text_ids) + len(prompt_speech) + _HEADROOM)
        self._inputs: list[tuple[int, int]] = [(SOS, SOS)]
        self._history: list[int] = []
        self._text, self._speech = list(prompt_text_ids), list(prompt_speech)
        # Number of drawn ids at which fill is forced: the prompt's last, incomplete fifteen tokens are completed first.
        self._fill_at = self._mix[1] - len(self._speech) % self._mix[1]
        self._run = self._decode(text_ids)

    def __iter__(self) -> BistreamGeneration:
        return self

    def __next__(self) -> int:
        return next(self._run)

    def _decode(self, text_ids: Iterable[int]) -> Iterator[int]:
        count = 0
        for arrived in text_ids:
            count += 1
            self._text.append(int(arrived))
            while self._speech and len(self._text) >= self._mix[0]:
                self._inputs += self._take_text()
                self._inputs += [(SPEECH, token) for token in self._speech[: self._mix[1]]]
                del self._speech[: self._mix[1]]
            if self._speech:
                continue
            asked = self._asks_for_text
            if asked or self._inputs == [(SOS, SOS)]:
                if len(self._text) < self._mix[0]:
                    continue
                self._inputs = ([] if asked else self._inputs) + self._take_text()
            yield from self._until_fill()
        # As in the original, the input before the last fill is fed once more here. What is left of the prompt, where the text
        # was too short for it, follows the task mark, as in training; the original drops it and repeats its end.
        rest = [(TEXT, i) for i in self._text] + [(TASK, TASK)] + [(SPEECH, token) for token in self._speech]
        self._inputs += rest
        yield from self._until_end(self._lengths.longest(count))

    @property
    def _asks_for_text(self) -> bool:
        return self._history[-1:] == [self._config.fill_id]

    def _take_text(self) -> list[tuple[int, int]]:
        taken = [(TEXT, i) for i in self._text[: self._mix[0]]]
        del self._text[: self._mix[0]]
        return taken

    def _until_fill(self) -> Iterator[int]:
        """Tokens until the model asks for more text, after fifteen of them at the latest."""
        while (drawn := self._draw(ended=False)) != self._config.fill_id:
            yield self._keep(drawn)
        self._fill_at = len(self._history) + self._mix[1] + 1
        self._history.append(drawn)

    def _until_end(self, longest: int) -> Iterator[int]:
        while len(self.tokens) < longest:
            drawn = self._draw(ended=True)
            if drawn >= self._config.eos_id:
                self.finish_reason = "eos"
                return
            yield self._keep(drawn)
        self.finish_reason = "length"

    def _keep(self, token: int) -> int:
        self._history.append(token)
        self.tokens.append(token)
        self._inputs = [(SPEECH, token)]
        return token

    @torch.inference_mode()
    def _draw(self, ended: bool) -> int:
        logits, config = self._feed(), self._config
        if not ended and len(self._history) == self._fill_at:
            return config.fill_id
        if not ended:
            logits[config.eos_id] = float("-inf")
        drawn = self._sampler(logits, self._history, self._generator)
        while not ended and drawn > config.eos_id and drawn != config.fill_id:
            # The spare id, on which the original stops with an error.
            logits[drawn] = float("-inf")
            drawn = self._sampler(logits, self._history, self._generator)
        return drawn

    def _feed(self) -> Tensor:
        """Logits after the inputs, which are left as they are."""
        inputs, lm = self._inputs, self._lm
        needed = self.state.length + len(inputs)
        if needed > self.state.max_length:
            self.state = self.state.clone(max(needed, 2 * self.state.max_length))
        if len(inputs) == 1 and inputs[0][0] == SPEECH:
            return self._step(lm.speech_embedding.weight[inputs[0][1], None], self.state)[0]
        device = lm.llm_decoder.weight.device
        kind, ids = torch.tensor(inputs, device=device).T[:, None]
        return lm.logits(lm(lm.embed(kind, ids), self.state)[0, -1])


def generate_bistream(
    lm: SpeechLM,
    text_ids: Iterable[int],
    prompt_text_ids: Sequence[int] | Tensor = (),
    prompt_speech: Sequence[int] | Tensor = (),
    *,
    generator: torch.Generator | None = None,
    lengths: LengthConfig = DEFAULT_LENGTHS,
    sampler: Sampler = ras_sample,
    step: Step | None = None,
) -> BistreamGeneration:
    """Generate speech tokens for a text that is still arriving, continuing a prompt.

    The rules are CosyVoice 2's: the prompt is interleaved by fives and fifteens too and takes text with it, so after a prompt
    of n tokens with t text ids the first token needs 5 * ceil(n / 15) - t ids of the text. While text is still to come, eos is
    masked and ``fill`` follows fifteen tokens, or comes earlier where it is drawn; after that any id from eos on stops.

    Args:
        lm: the model, in evaluation mode, trained with the bistream layout.
        text_ids: ids of the text to speak, asked for one by one when tokens need them; may block.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        generator: CPU generator of the sampler; equal seeds give equal tokens.
        lengths: how many tokens there may be at most, checked once the text is complete.
        sampler: `ras_sample`, `greedy`, or another of their shape.
        step: as in `generate`.

    Returns:
        An iterator of tokens (0 .. num_speech_tokens - 1) that knows its ``finish_reason`` at the end.
    """
    return BistreamGeneration(
        lm,
        text_ids,
        torch.as_tensor(prompt_text_ids, dtype=torch.int64).flatten().tolist(),
        torch.as_tensor(prompt_speech, dtype=torch.int64).flatten().tolist(),
        lengths=lengths,
        generator=generator,
        sampler=sampler,
        step=step or lm.next_logits,
    )
