"""Generation against the original, its length rules, and its manners."""

from __future__ import annotations

import copy

import pytest
import torch

from mamtra.engine.packed_step import PackedDecoder
from mamtra.engine.reference import generate
from mamtra.engine.sampling import greedy
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM
from tests.factories import small_hybrid


@pytest.fixture(scope="module")
def tiny(golden) -> SpeechLM:
    return golden.lm()


@pytest.mark.parametrize("packed", [False, True])
def test_greedy_tokens(golden, tiny, packed, agree):
    g = golden["lm_zero_shot_greedy"]
    logits = []

    def record(row, history, generator):
        logits.append(row.clone())
        return greedy(row, history)

    step = PackedDecoder(tiny) if packed else None
    run = generate(tiny, g["text"], g["prompt_text"], g["prompt_speech_token"], sampler=record, step=step)
    wanted = g["greedy_tokens"].tolist()
    agree("speech tokens", [next(run) for _ in wanted], wanted)
    keep = torch.arange(tiny.config.speech_vocab_size) != tiny.config.eos_id  # masked before min_len
    agree("logits", logits[0][keep], g["prefill_logits"][keep], 1e-4)
    agree("logits", logits[-1][keep], g["step_logits_last"][keep], 1e-4)
    agree("logits", torch.stack(logits).gather(1, g["step_logits_top8_ids"]), g["step_logits_top8"], 1e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_sampled_tokens(golden, tiny, packed, agree):
    g = golden["lm_zero_shot_ras"]
    generator = torch.Generator().manual_seed(int(g["seed"]))
    step = PackedDecoder(tiny) if packed else None
    prompt, sampler = (g["prompt_text"], g["prompt_speech_token"]), golden.sampler
    run = generate(tiny, g["text"], *prompt, generator=generator, sampler=sampler, step=step)
    wanted = g["tokens"].tolist()
    agree("speech tokens", [next(run) for _ in wanted], wanted)


@pytest.mark.parametrize(
    "special, bias, tokens, reason",
    [
        (0, 100, "tokens_bias_eos_plus100", "eos"),
        (0, -100, "tokens_bias_eos_minus100", "length"),
        (1, 100, "tokens_bias_{spare}_plus100", "eos"),
    ],
)
def test_length_rules(golden, tiny, special, bias, tokens, reason, agree):
    """A bias on the end of speech, or on the spare id behind it."""
    g, row = golden["lm_length_rules"], tiny.config.eos_id + special
    tokens = tokens.format(spare=row)
    lm = copy.deepcopy(tiny)
    lm.llm_decoder.bias.data[row] += bias
    run = generate(lm, g["text"], g["prompt_text"], g["prompt_speech_token"], sampler=greedy)
    agree("speech tokens", list(run), g[tokens].tolist())
    assert run.finish_reason == reason
    assert run.tokens == g[tokens].tolist()


def test_without_a_prompt(golden, tiny, agree):
    g, rows = golden["lm_length_rules"], []

    def record(row, history, generator):
        rows.append(row.clone())
        return greedy(row, history)

    run = generate(tiny, g["text"], sampler=record)
    wanted = g["no_prompt_tokens"].tolist()
    agree("speech tokens", [next(run) for _ in wanted], wanted)
    keep = torch.arange(tiny.config.speech_vocab_size) != tiny.config.eos_id  # masked before min_len
    agree("logits", rows[0][keep], g["no_prompt_prefill_logits"][keep], 1e-4)


@pytest.fixture(scope="module")
def hybrid() -> SpeechLM:
    lm = small_hybrid(text_vocab_size=10)
    lm.llm_decoder.bias.data[31:] = -100
    return lm


def test_ratios_are_arguments(hybrid):
    lm = copy.deepcopy(hybrid)
    lm.llm_decoder.bias.data[30] = 100
    assert len(list(generate(lm, [1, 2, 3], lengths=LengthConfig(min_ratio=1.5)))) == 4
    lm.llm_decoder.bias.data[30] = -100
    run = generate(lm, [1, 2, 3], lengths=LengthConfig(max_ratio=3.4))
    assert len(list(run)) == 10
    assert run.finish_reason == "length"
    assert next(run, None) is None


def test_a_short_text_has_the_least_numbers_of_tokens(hybrid):
    lengths = LengthConfig(min_ratio=1, max_ratio=5, min_tokens=3, min_limit=12)
    assert [lengths.shortest(n) for n in (1, 2, 4)] == [3, 3, 4]
    assert [lengths.longest(n) for n in (1, 2, 4)] == [12, 12, 20]
    lm = copy.deepcopy(hybrid)
    lm.llm_decoder.bias.data[30] = 100
    assert len(list(generate(lm, [1], lengths=lengths))) == 3
    lm.llm_decoder.bias.data[30] = -100
    assert len(list(generate(lm, [1], lengths=lengths))) == 12


def test_equal_seeds_give_equal_codes(hybrid):
    runs = [list(generate(hybrid, [1, 2], generator=torch.Generator().manual_seed(s))) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_callers_gradient_mode_is_left_alone(hybrid):
    run = generate(hybrid, [1, 2], generator=torch.Generator().manual_seed(0))
    assert not torch.is_inference_mode_enabled()
    next(run)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert run.finish_reason is None
