"""CosyVoice 3's language model gives what the original gave: tokens and layouts exactly, scores and losses to rounding."""

import pytest
import torch
from safetensors.numpy import load_file

from mamtra.distill.losses import cross_entropy
from mamtra.engine.packed_step import PackedDecoder
from mamtra.engine.reference import generate
from mamtra.engine.sampling import ras_sample
from mamtra.models.layout import bistream, unistream
from tests.parity.cosyvoice3_lm import (
    CONFIG,
    END,
    ENDINGS,
    FILL,
    FIXTURE,
    LAYOUTS,
    PROMPT_SPEECH,
    PROMPT_TEXT,
    SEEDS,
    TEXT,
    build,
    fresh,
    scores,
    utterances,
)
from tests.parity.fixture import Output, difference


@pytest.fixture(scope="module")
def stored():
    return load_file(FIXTURE)


@pytest.fixture(scope="module")
def models():
    return {name: build(special) for name, special in ENDINGS.items()}


def check(stored, *outputs):
    assert [problem for output in outputs if (problem := difference(output, stored))] == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ENDINGS)
def test_the_best_tokens(stored, models, name, packed):
    lm = models[name]
    step = PackedDecoder(lm) if packed else None
    for what, prompt in (("best", PROMPT_SPEECH), ("best without speech", ())):
        run = generate(lm, TEXT, PROMPT_TEXT, prompt, sampler=lambda row, history, _: fresh(row, history), step=step)
        check(stored, Output(f"{name}/{what}", torch.tensor([*run], dtype=torch.int64)))


@pytest.mark.parametrize("name", ENDINGS)
def test_scores(stored, models, name):
    lm, rows = models[name], []

    def best(logits, history, generator=None):
        rows.append(logits.clone())
        return fresh(logits, history)

    list(generate(lm, TEXT, PROMPT_TEXT, PROMPT_SPEECH, sampler=best))
    for which, row in (("first", rows[0]), ("last", rows[-1])):
        check(stored, Output(f"{name}/{which} scores", scores(row), 1e-4))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ENDINGS)
def test_sampled_tokens(stored, models, name, seed):
    generator = torch.Generator().manual_seed(seed)
    run = generate(models[name], TEXT, PROMPT_TEXT, PROMPT_SPEECH, sampler=ras_sample, generator=generator)
    check(stored, Output(f"{name}/sampled/{seed}", torch.tensor([*run], dtype=torch.int64)))


@torch.no_grad()
@pytest.mark.parametrize("name", LAYOUTS)
def test_training(stored, name):
    lm, (texts, speeches) = build(1.0), zip(*utterances(), strict=True)
    ids = {"eos_id": END, "fill_id": FILL, "mix": CONFIG.mix_ratio}
    batch = unistream(texts, speeches, eos_id=END) if name == "unistream" else bistream(texts, speeches, **ids)
    loss = cross_entropy(lm.logits(lm(lm.embed(batch.kind, batch.ids))), batch.targets)
    check(stored, Output(f"{name}/loss", loss[None], 2e-5))


def test_the_fixture_is_small_and_covers_both_ends(stored):
    assert FIXTURE.stat().st_size < 20_000
    count = TEXT.shape[1]
    assert [len(stored[f"{name}/best"]) for name in ("long", "short")] == [20 * count, 76]
    assert any(0 < len(stored[f"long/sampled/{seed}"]) < 2 * count for seed in SEEDS), "an end is never held back"
