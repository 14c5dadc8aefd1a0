"""What fewer bits cost: weights in int8 and fp8, Mamba states in bfloat16 and int8, on a CPU.

    python benchmarks/weight_types.py --set LIST.tsv [--model mini] [--sentences 100] [--threads 2]
        [--out docs/results/weight_types.json]

The embedded voice speaks sentences of a list (columns id, text, spoken) in full precision; every kind of weights and states then
reads texts and tokens once, teacher-forced (`weight_logits.py`). CosyVoice 2's sizes with random weights read random inputs. How
well the embedded voice is understood with fewer bits: `weight_words.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from record import benchmark
from weight_logits import compare_states, compare_weights

from mamtra.cost.measured_memory import open_engine, random_lm
from mamtra.evaluate.sets import read_set
from mamtra.models.layout import IGNORE, unistream
from mamtra.ranking.calibration import batches, own_speech
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.batch import positions_needed
from mamtra.tts import TTS

STATE_BATCHES = 1
"""Of the embedded voice's speech, that are read position by position: as many say little more, and take long."""
LARGE_ROWS, LARGE_TEXT, LARGE_SPEECH = 4, 32, 64


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--set", type=Path, help="list of sentences")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.set is None:
        raise SystemExit("give --set")
    torch.set_num_threads(args.threads)
    tts, sentences = TTS.load(args.model, device="cpu"), read_set(args.set, args.sentences).lines
    found: dict[str, Any] = {"model": tts.model.name, "sentences": len(sentences)}
    yield (found := found | {"forced": forced(tts, [line.text for line in sentences])})
    yield found | {"large": large()}


def forced(tts: TTS, texts: list[str]) -> dict[str, Any]:
    """The embedded voice on its own speech."""
    model = tts.model
    ids = [segment.ids for text in texts for segment in model.text.segments(text)]
    room = positions_needed(model, [tts.voice()], map(len, ids))
    with open_engine(model.lm, 32, room) as engine:
        utterances = own_speech(engine, ids, tts.voice().lm_prompt, model.generation)
    spoken = batches(utterances, model.lm.config.eos_id, positions=8192)
    for row in (row for batch in spoken for row in batch.targets):
        row[(row != IGNORE).nonzero()[: len(tts.voice().lm_prompt[1])]] = IGNORE  # what the voice's recording says
    return {
        "segments": len(ids), "weights": list(compare_weights(model.lm, spoken)),
        "states": list(compare_states(model.lm, spoken[:STATE_BATCHES])),
    }  # fmt: skip


def large() -> dict[str, Any]:
    """CosyVoice 2's sizes with random weights, as many attention as Mamba layers, on random inputs."""
    torch.manual_seed(0)
    lm, draw = random_lm("1:1", torch.device("cpu")), torch.Generator().manual_seed(0)

    def ids(below: int, count: int) -> list[torch.Tensor]:
        return [torch.randint(0, below, (count,), generator=draw) for _ in range(LARGE_ROWS)]

    config = lm.config
    texts, speeches = ids(config.text_vocab_size, LARGE_TEXT), ids(config.num_speech_tokens, LARGE_SPEECH)
    spoken = [unistream(texts, speeches, eos_id=config.eos_id)]
    return {"weights": list(compare_weights(lm, spoken)), "states": list(compare_states(lm, spoken))}


def render(result: dict[str, Any]) -> str:
    parts = ["# Fewer bits"]
    forced, big = result.get("forced"), result.get("large")
    parts.append(
        "Weights: the matrices of the layers, `int8` and `fp8` with one scale for each output; tables, norms, convolutions and the "
        "head keep all their bits. States: those of the Mamba layers, rounded after every position, `int8` with one scale for each "
        "head. The engine offers all of these but int8 states, which were rounded by this measurement. In nats a token; the "
        "divergence is from float32. Weights are read in one pass, states position by position, each against float32 read alike."
    )
    head = ("", "cross entropy", "divergence", "error of the logits", "equal first choice")
    if forced:
        parts += [
            "## The embedded voice on its own speech",
            f"The model {result['model']} on {forced['segments']} segments of {result['sentences']} development sentences that "
            f"it spoke itself, {forced['weights'][0]['positions']:,} positions, teacher-forced; the states over the shortest of "
            f"them, {forced['states'][0]['positions']:,} positions. Where int8 weights change nothing, the model's file holds its "
            "matrices in int8 with one scale a row already.",
            markdown_table(head, _rows(forced)),
        ]
    if big:
        parts += [
            "## CosyVoice 2's sizes",
            f"Random weights, twelve of 24 layers with attention, random inputs, {big['weights'][0]['positions']} positions. There "
            "is nothing to predict, so only the errors say something.",
            markdown_table((*head[:1], *head[2:4]), [(row[0], *row[2:4]) for row in _rows(big)]),
        ]
    return page(result, *parts)


def _rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"{row['name']} {what}", f"{row['cross_entropy']:.4f}", f"{row['divergence']:.5f}", f"{row['logit_error']:.4f}",
            f"{row['same_first']:.1%}",
        )
        for what in ("weights", "states")
        for row in found[what]
    ]  # fmt: skip


if __name__ == "__main__":
    benchmark("weight_types", __doc__, measure, render, options, None)
