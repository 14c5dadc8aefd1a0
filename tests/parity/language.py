"""Cases of the language model: training layouts and forward pass, generation, text that is still arriving, sampling."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch

from mamtra.distill.losses import cross_entropy
from mamtra.engine.packed_step import PackedDecoder
from mamtra.engine.reference import generate, generate_bistream
from mamtra.engine.sampling import greedy, nucleus, ras_sample
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import IGNORE, Batch, bistream, unistream
from mamtra.models.speech_lm import SpeechLM
from tests.parity.fixture import Output, integers, normal, seeded

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 16, "text_vocab_size": 100}  # fmt: skip
TEXT, PROMPT_TEXT = integers("text", 100, 1, 11), integers("prompt text", 100, 1, 8)
PROMPT_SPEECH = integers("prompt speech", 6561, 1, 33)


def build() -> SpeechLM:
    return seeded(SpeechLM(SpeechLMConfig(**SIZES)), "lm")


def ids(found: Iterable[int]) -> torch.Tensor:
    return torch.tensor([*found], dtype=torch.int64)


def layouts(kind: str) -> Batch:
    texts = [integers(f"{kind} text {n}", 100, n) for n in (11, 7, 10)]
    speeches = [integers(f"{kind} speech {len(text)}", 6561, 3 * len(text) + 4) for text in texts]
    return (unistream if kind == "unistream" else bistream)(texts, speeches)


@torch.no_grad()
def training(_: Path) -> Iterator[Output]:
    lm = build()
    for kind in ("unistream", "bistream"):
        batch = layouts(kind)
        for part in ("kind", "ids", "targets", "lengths"):
            yield Output(f"{kind}/{part}", getattr(batch, part))
        embedded = lm.embed(batch.kind, batch.ids)
        hidden = lm(embedded)
        logits, rows = lm.logits(hidden), batch.targets != IGNORE
        yield Output(f"{kind}/embedded", embedded)
        yield Output(f"{kind}/hidden", hidden[rows], 5e-5)
        yield Output(f"{kind}/logits", logits[rows], 1e-4)
        yield Output(f"{kind}/loss", cross_entropy(logits, batch.targets)[None], 2e-5)


def generation(_: Path) -> Iterator[Output]:
    lm = build()
    prompt = (TEXT, PROMPT_TEXT, PROMPT_SPEECH)
    for step in (None, PackedDecoder(lm)):
        rows = []

        def record(row, history, generator, rows=rows):
            rows.append(row.clone())
            return greedy(row, history)

        run = generate(lm, *prompt, sampler=record, step=step)
        yield Output("greedy tokens", ids(islice(run, 30)))
        allowed = torch.arange(6564) != 6561  # masked before the least length
        yield Output("greedy logits", torch.stack([rows[0], rows[-1]])[:, allowed], 1e-4)
        run = generate(lm, *prompt, generator=torch.Generator().manual_seed(4321), step=step)
        yield Output("sampled tokens", ids(islice(run, 40)))
    yield Output("greedy tokens without a prompt", ids(islice(generate(lm, TEXT, sampler=greedy), 12)))
    for row, bias in ((6561, 100), (6561, -100), (6562, 100)):
        biased = copy.deepcopy(lm)
        biased.llm_decoder.bias.data[row] += bias
        run = generate(biased, *prompt, sampler=greedy)
        yield Output(f"tokens/{row}{bias:+d}", ids(run))
        yield Output(f"ended by eos/{row}{bias:+d}", torch.tensor([run.finish_reason == "eos"]))


def arriving_text(_: Path) -> Iterator[Output]:
    lm = build()
    lengths: list[int] = []
    lm.model.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))

    def speech_only(row, history, generator=None):
        return int(row[:6561].argmax())

    for name, prompt in (("with a prompt", (PROMPT_TEXT, PROMPT_SPEECH)), ("without a prompt", ())):
        for step in (None, PackedDecoder(lm)):
            lengths.clear()
            run = generate_bistream(lm, iter(TEXT[0].tolist()), *prompt, sampler=speech_only, step=step)
            yield Output(f"tokens {name}", ids(islice(run, 45)))
            if step is None:
                yield Output(f"input lengths {name}", ids(lengths))


def sampling(_: Path) -> Iterator[Output]:
    for scale in (1, 4):
        for number in range(3):
            row = torch.log_softmax(scale * normal(f"logits {number}", 6564), -1)
            p, kept = nucleus(row, 0.8, 25)
            yield Output(f"nucleus ids/{scale}/{number}", kept)
            yield Output(f"nucleus probabilities/{scale}/{number}", p, 1e-6)
            likely = kept.tolist()
            histories = ([], likely[:10], (likely * 10)[:30], [7] * 12)
            drawn = [
                ras_sample(row.clone(), history, torch.Generator().manual_seed(seed))
                for history in histories
                for seed in range(6)
            ]
            yield Output(f"decisions/{scale}/{number}", ids(drawn))
