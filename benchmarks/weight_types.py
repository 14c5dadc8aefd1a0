"""What weights in eight bits cost the embedded voice: cross entropy of its speech tokens, on a CPU.

    python benchmarks/weight_types.py [--model mini] [--texts 24] [--threads 2] [--out docs/results/weight_types.json]

The model speaks the sentences that calibrate layer rankings, in full precision and with a seed for each. Every type of weights
then reads texts and tokens once, teacher-forced. The weights are those of `Engine(..., weights=...)`: matrices of the layers in
eight bits with one scale for each output.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from record import benchmark
from torch import Tensor

from mamtra.evaluate.sentences import read_sentences
from mamtra.models.layout import IGNORE, Batch
from mamtra.models.scaled_linear import scale_weights
from mamtra.models.speech_lm import SpeechLM
from mamtra.ranking.calibration import batches, own_speech
from mamtra.runtime.results import footnote, markdown_table
from mamtra.tts import TTS

TYPES = ("float32", "bfloat16", "int8", "fp8")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(args.threads)
    tts = TTS.load(args.model, device="cpu")
    model, voice = tts.model, tts.voice()
    texts = [segment.ids for text in read_sentences()[: args.texts] for segment in model.text.segments(text)]
    spoken = batches(own_speech(model.engine, texts, voice.lm_prompt, model.generation), model.lm.config.eos_id)
    exact = logits_of(model.lm, spoken)
    rows = []
    for kind in TYPES:
        lm = copy.deepcopy(model.lm)
        if kind in ("int8", "fp8"):
            scale_weights(lm, kind)
        elif kind == "bfloat16":
            lm.model.layers.to(torch.bfloat16).to(torch.float32)
        rows.append({"weights": kind, **compare(logits_of(lm, spoken), exact)})
        yield {"model": model.name, "texts": len(texts), "tokens": len(exact[0]), "rows": rows}


def logits_of(lm: SpeechLM, spoken: list[Batch]) -> tuple[Tensor, Tensor]:
    """Logits (N, V) of all positions that predict a speech token or the end, and the targets (N,)."""
    logits, targets = [], []
    for batch in spoken:
        where = batch.targets != IGNORE
        logits.append(lm.logits(lm(lm.embed(batch.kind, batch.ids))[where]))
        targets.append(batch.targets[where])
    return torch.cat(logits), torch.cat(targets)


def compare(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Cross entropy and divergence from full precision in nats a token, relative error of the logits, equal first choices."""
    logits, targets = found
    divergence = F.kl_div(
        logits.log_softmax(-1), exact[0].log_softmax(-1), reduction="batchmean", log_target=True
    ).item()
    return {
        "cross_entropy": F.cross_entropy(logits, targets).item(),
        "divergence": divergence,
        "logit_error": ((logits - exact[0]).norm() / exact[0].norm()).item(),
        "same_first": (logits.argmax(-1) == exact[0].argmax(-1)).float().mean().item(),
    }


def render(result: dict[str, Any]) -> str:
    rows = (
        (row["weights"], f"{row['cross_entropy']:.4f}", f"{row['divergence']:.5f}", f"{row['logit_error']:.4f}",
         f"{row['same_first']:.1%}")
        for row in result["rows"]
    )  # fmt: skip
    about = (
        f"The model {result['model']} on {result['texts']} segments of text that it spoke itself, {result['tokens']:,} positions, "
        "teacher-forced. `int8` and `fp8` are the matrices of the layers with one scale for each output; tables, norms, "
        "convolutions and the head keep all their bits. In nats a token; the divergence is from float32. Where int8 changes "
        "nothing, the model's file holds its matrices in int8 with one scale a row already."
    )
    head = ("weights", "cross entropy", "divergence", "error of the logits", "equal first choice")
    return "\n\n".join(["# Weights in eight bits", about, markdown_table(head, rows), footnote(result)]) + "\n"


if __name__ == "__main__":
    benchmark("weight_types", __doc__, measure, render, options, None)
