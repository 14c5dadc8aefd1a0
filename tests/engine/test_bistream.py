"""Codes while the text is arriving: against the original, its rules, and what follows when they are bent."""

from __future__ import annotations

import copy

import pytest
import torch

from mamtra.engine.packed_step import PackedDecoder
from mamtra.engine.reference import generate_bistream
from mamtra.engine.sampling import greedy
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM
from tests.factories import small_hybrid

FILL = 32


@pytest.fixture(scope="module")
def original(golden) -> SpeechLM:
    return golden.lm()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["", "noprompt_"])
def test_original_run(golden, original, prefix, packed, agree):
    g, sizes = golden["lm_bistream_infer"], original.config
    prompt = () if prefix else (g["prompt_text"], g["prompt_speech_token"])
    texts, speeches = sizes.mix_ratio
    own = 0 if prefix else g["prompt_text"].shape[1]
    # the speech tokens of the prompt take text ids by the mix, some of which it brings itself
    first = texts if prefix else -(-g["prompt_speech_token"].shape[1] // speeches) * texts - own

    def speech_only(logits, history, generator=None):
        """Greedy among the speech tokens, as the vectors were made."""
        return int(logits[: sizes.num_speech_tokens].argmax())

    fed = []
    hook = original.model.register_forward_pre_hook(lambda _, args: fed.append(args[0].shape[1]))
    taken = []

    def arriving():
        for i in g["text"][0].tolist():
            taken.append(i)
            yield i

    step = PackedDecoder(original) if packed else None
    run = generate_bistream(original, arriving(), *prompt, sampler=speech_only, step=step)
    wanted = g[f"{prefix}tokens"].tolist()
    found = [next(run)]
    assert len(taken) == first
    found += [next(run) for _ in wanted[1:]]
    hook.remove()
    agree("speech tokens", found, wanted)
    assert run.tokens == wanted and taken == g["text"][0].tolist()
    lengths = g[f"{prefix}input_lengths"].tolist()
    agree("positions fed", fed, [n for n in lengths if n > 1] if packed else lengths)


@pytest.fixture(scope="module")
def hybrid() -> SpeechLM:
    return small_hybrid()


def biased(lm: SpeechLM, **ids: float) -> SpeechLM:
    lm = copy.deepcopy(lm)
    for name, bias in ids.items():
        lm.llm_decoder.bias.data[{"eos": 30, "spare": 31, "fill": FILL}[name]] = bias
    return lm


def test_the_codes_are_those_of_one_pass_over_the_layout(hybrid):
    """Each code is the best one behind everything that was fed, seen by a pass without a state."""
    lm = biased(hybrid, eos=-100, spare=-100, fill=-100)
    run = generate_bistream(lm, range(10, 22), sampler=greedy, lengths=LengthConfig(max_ratio=4))
    codes = list(run)
    assert len(codes) == 48 and run.finish_reason == "length"
    text = list(range(10, 22))
    rows = [(0, 0)]
    for begin in (0, 1):
        rows += [(2, i) for i in text[5 * begin : 5 * begin + 5]]
        rows += [(3, c) for c in codes[15 * begin : 15 * begin + 15]]
    rows += [(3, codes[29]), (2, 20), (2, 21), (1, 1), *[(3, c) for c in codes[30:-1]]]
    kind, ids = torch.tensor(rows).T[:, None]
    best = lm.logits(lm(lm.embed(kind, ids)))[0, :, :30].argmax(-1).tolist()
    assert [*best[5:20], *best[25:40], *best[44:]] == codes


def test_fill_may_come_early_and_text_may_be_short(hybrid):
    lm = biased(hybrid, eos=100, fill=90)
    taken = []
    run = generate_bistream(lm, (taken.append(i) or i for i in range(1, 13)), sampler=greedy)
    assert list(run) == [] and run.finish_reason == "eos" and len(taken) == 12
    lm = biased(hybrid, eos=-100, spare=-100, fill=-100)
    run = generate_bistream(lm, [1, 2], sampler=greedy, lengths=LengthConfig(max_ratio=3.5))
    assert len(list(run)) == 7 and run.finish_reason == "length" and next(run, None) is None


def test_a_prompt_that_the_text_does_not_use_up_follows_the_task_mark(hybrid, monkeypatch):
    fed = []
    embed = SpeechLM.embed
    monkeypatch.setattr(
        SpeechLM, "embed", lambda lm, kind, ids: (fed.append(kind[0].tolist()), embed(lm, kind, ids))[1]
    )
    list(generate_bistream(biased(hybrid, eos=100), [7], [1, 2, 3, 4, 5], list(range(20)), sampler=greedy))
    assert fed == [[0, *[2] * 5, *[3] * 15, 2, 1, *[3] * 5]]


def test_the_spare_id_is_drawn_again_until_the_text_ends(hybrid):
    lm = biased(hybrid, eos=-100, spare=100, fill=-100)
    run = generate_bistream(lm, range(1, 8), sampler=greedy)
    assert len(list(run)) == 15 and run.finish_reason == "eos"


def test_the_state_grows(hybrid):
    lm = biased(hybrid, eos=-100, spare=-100, fill=-100)
    run = generate_bistream(lm, [1] * 20, sampler=greedy)
    assert len(list(run)) == 400 and run.state.max_length >= 420


def test_equal_seeds_give_equal_codes(hybrid):
    lm = biased(hybrid, eos=-100, spare=-100)
    runs = [
        list(
            generate_bistream(
                lm, [1] * 12, generator=torch.Generator().manual_seed(s), lengths=LengthConfig(max_ratio=5)
            )
        )
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
