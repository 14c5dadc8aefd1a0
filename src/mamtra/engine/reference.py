"""Generate speech tokens one at a time, written out plainly: what the engine is tested against.

Of a text that is there (`generate`), and of one that is still arriving (`generate_bistream`): the bistream layout of CosyVoice 2
(arXiv 2412.10117), five text ids, fifteen tokens, and so on, then ``[task]`` and the rest of the text once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mamtra.engine.request import Inputs
from mamtra.engine.sampling import ras_sample
from mamtra.engine.steps import Step
from mamtra.models.kinds import SOS, SPEECH, TASK, TEXT
from mamtra.models.sampling_config import DEFAULT_LENGTHS, LengthConfig
from mamtra.models.speech_lm import SpeechLM

Sampler = Callable[[Tensor, Sequence[int], "torch.Generator | None"], int]

_HEADROOM = 256
"""Positions of the state beyond what is known at the start; it grows when they are used up."""


class Generation(Iterator[int]):
    """A running generation: iterate over it to get tokens as they are generated.

    Args:
        lm: the model, in evaluation mode.
        rules: which inputs are fed when, and which ids end the run; tokens come from `draw` and `keep`.
        room: positions of the state at the start.
        generator: of the sampler.
        sampler: of the tokens.
        step: for inputs of one token; eager by default.

    Attributes:
        tokens: all tokens so far.
        history: all drawn ids so far: the tokens, and between them ``fill``.
        finish_reason: ``eos`` after a stop id, ``length`` at the greatest length, None while tokens are still to come.
        state: the model's state; a new object whenever it had to grow.
    """

    def __init__(
        self,
        lm: SpeechLM,
        rules: Callable[[Generation], Iterator[int]],
        *,
        room: int,
        generator: torch.Generator | None,
        sampler: Sampler,
        step: Step | None,
    ) -> None:
        self.tokens: list[int] = []
        self.history: list[int] = []
        self.finish_reason: Literal["eos", "length"] | None = None
        self.state = lm.init_state(1, room)
        self.config = lm.config
        self._lm, self._generator, self._sampler, self._step = lm, generator, sampler, step or lm.next_logits
        self._run = rules(self)

    def __next__(self) -> int:
        return next(self._run)

    # Entered at each draw: a mode that stayed on between draws would apply to the caller's code too.
    @torch.inference_mode()
    def draw(self, inputs: Inputs, *, interleaved: bool = False, may_end: bool = True, fill: bool = False) -> int:
        """An id after the inputs, which are at least one.

        Args:
            inputs: to feed.
            interleaved: more text may follow: neither eos nor the spare id, on which the original stops with an error.
            may_end: eos may come.
            fill: the id is ``fill``, whatever the model says.
        """
        logits, config = self._feed(inputs), self.config
        if fill:
            return config.fill_id
        if interleaved or not may_end:
            logits[config.eos_id] = float("-inf")
        drawn = self._sampler(logits, self.history, self._generator)
        while interleaved and drawn > config.eos_id and drawn != config.fill_id:
            logits[drawn] = float("-inf")
            drawn = self._sampler(logits, self.history, self._generator)
        return drawn

    def keep(self, token: int) -> int:
        """Take a token into the history."""
        self.history.append(token)
        self.tokens.append(token)
        return token

    def _feed(self, inputs: Inputs) -> Tensor:
        """Logits (ids,) after the inputs."""
        lm, needed = self._lm, self.state.length + len(inputs)
        if needed > self.state.max_length:
            self.state = self.state.clone(max(needed, 2 * self.state.max_length))
        if len(inputs) == 1 and inputs[0][0] == SPEECH:
            return self._step(lm.speech_embedding.weight[inputs[0][1], None], self.state)[0]
        kind, ids = torch.tensor(inputs, device=lm.llm_decoder.weight.device).T[:, None]
        return lm.logits(lm(lm.embed(kind, ids), self.state)[0, -1])


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
    stop, and there are at most ``lengths.longest`` tokens.

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
    text, before, speech = (_listed(ids) for ids in (text_ids, prompt_text_ids, prompt_speech))
    inputs = [(SOS, SOS), *_text([*before, *text]), (TASK, TASK), *_speech(speech)]
    least, most = lengths.shortest(len(text)), lengths.longest(len(text))
    rules = partial(_until_end, inputs=inputs, least=least, most=most)
    return Generation(lm, rules, room=len(inputs) + most, generator=generator, sampler=sampler, step=step)


def generate_bistream(
    lm: SpeechLM,
    text_ids: Iterable[int],
    prompt_text_ids: Sequence[int] | Tensor = (),
    prompt_speech: Sequence[int] | Tensor = (),
    *,
    lengths: LengthConfig = DEFAULT_LENGTHS,
    generator: torch.Generator | None = None,
    sampler: Sampler = ras_sample,
    step: Step | None = None,
) -> Generation:
    """Generate speech tokens for a text that is still arriving, continuing a prompt.

    The rules are CosyVoice 2's: the prompt is interleaved by fives and fifteens too and takes text with it, so after a prompt
    of n tokens with t text ids the first token needs 5 * ceil(n / 15) - t ids of the text. While text is still to come, eos is
    masked and ``fill`` follows fifteen tokens, or comes earlier where it is drawn; after that any id from eos on stops.

    Args:
        lm: the model, in evaluation mode, trained with the bistream layout.
        text_ids: ids of the text to speak, asked for one by one when tokens need them; may block.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        lengths: how many tokens there may be at most, checked once the text is complete.
        generator, sampler, step: as in `generate`.

    Returns:
        An iterator of tokens (0 .. num_speech_tokens - 1) that knows its ``finish_reason`` at the end.
    """
    before, speech = _listed(prompt_text_ids), _listed(prompt_speech)
    rules = partial(_as_text_arrives, arriving=text_ids, text=before, speech=speech, lengths=lengths)
    room = len(before) + len(speech) + _HEADROOM
    return Generation(lm, rules, room=room, generator=generator, sampler=sampler, step=step)


def _until_end(run: Generation, inputs: Inputs, least: int, most: int) -> Iterator[int]:
    """Tokens after the inputs until one stops, or there are `most` in the whole run."""
    while len(run.tokens) < most:
        drawn = run.draw(inputs, may_end=len(run.tokens) >= least)
        if drawn >= run.config.eos_id:
            run.finish_reason = "eos"
            return
        yield run.keep(drawn)
        inputs = [(SPEECH, drawn)]
    run.finish_reason = "length"


def _as_text_arrives(
    run: Generation, arriving: Iterable[int], text: list[int], speech: list[int], lengths: LengthConfig
) -> Iterator[int]:
    """Tokens in chunks of the bistream layout; `text` and `speech` are those of the prompt, and are used up."""
    texts, speeches = run.config.mix_ratio
    fill, start, inputs, count = run.config.fill_id, [(SOS, SOS)], [(SOS, SOS)], 0
    # Number of drawn ids at which fill is forced: the prompt's last, incomplete fifteen tokens are completed first.
    fill_at = speeches - len(speech) % speeches
    for arrived in arriving:
        count += 1
        text.append(int(arrived))
        while speech and len(text) >= texts:
            inputs += [*_text(text[:texts]), *_speech(speech[:speeches])]
            del text[:texts], speech[:speeches]
        if speech:
            continue
        asked = run.history[-1:] == [fill]
        if asked or inputs == start:
            if len(text) < texts:
                continue
            inputs = ([] if asked else inputs) + _text(text[:texts])
            del text[:texts]
        while (drawn := run.draw(inputs, interleaved=True, fill=len(run.history) == fill_at)) != fill:
            yield run.keep(drawn)
            inputs = [(SPEECH, drawn)]
        run.history.append(fill)
        fill_at = len(run.history) + speeches
    # As in the original, the input before the last fill is fed once more here. What is left of the prompt, where the text was too
    # short for it, follows the task mark, as in training; the original drops it and repeats its end.
    inputs = [*inputs, *_text(text), (TASK, TASK), *_speech(speech)]
    yield from _until_end(run, inputs, least=0, most=lengths.longest(count))


def _text(ids: Sequence[int]) -> Inputs:
    return [(TEXT, i) for i in ids]


def _speech(ids: Sequence[int]) -> Inputs:
    return [(SPEECH, i) for i in ids]


def _listed(ids: Sequence[int] | Tensor) -> list[int]:
    return torch.as_tensor(ids, dtype=torch.int64).flatten().tolist()
