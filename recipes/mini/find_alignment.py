"""Which attention heads of a model's LM follow the text: candidates for `alignment_head` in generation_config.json.

    python find_alignment.py --model src/mamtra/assets/mini --text text/ljspeech.txt [--sentences 20]

The model speaks sentences of a text file with its default voice. For each head: `text`, its attention to the text; `forward`,
the fraction of tokens whose place (that of the greatest attention) is not before the place of the token before; `in line`, the
correlation of the places with time. The best heads come first; a head that serves has 0.99 in all three.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

import mamtra
from mamtra.engine.alignment import text_attention
from mamtra.synthesis.retries import segment_seed
from mamtra.synthesis.sentence import generate_tokens


def follow(attention: np.ndarray) -> tuple[float, float, float]:
    """The three figures of one head in one sentence.

    Args:
        attention: (tokens, text ids).
    """
    places = attention.argmax(1)
    line = np.corrcoef(places, np.arange(len(places)))[0, 1] if np.ptp(places) else 0.0
    return float(attention.sum(1).mean()), float((np.diff(places) >= 0).mean()), float(line)


def find_heads(tts: mamtra.TTS, texts: list[str]) -> dict[tuple[int, int], np.ndarray]:
    """Mean figures of every attention head, best first."""
    model, voice = tts.model, tts.voice()
    layers = [n for n, kind in enumerate(model.lm.config.layer_types) if kind == "full_attention"]
    heads = [(layer, head) for layer in layers for head in range(model.lm.config.num_attention_heads)]
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {head: [] for head in heads}
    for number, text in enumerate(texts):
        ids = model.text.segments(text)[0].ids
        tokens, _ = generate_tokens(model, voice, ids, segment_seed(number, 0))
        for head in heads:
            found[head].append(follow(text_attention(model.lm, head, ids, tokens, *voice.lm_prompt).numpy()))
    means = {head: np.mean(rows, 0) for head, rows in found.items()}
    return dict(sorted(means.items(), key=lambda item: -float(item[1].prod())))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="sentences, one a line")
    parser.add_argument("--sentences", type=int, default=20)
    args = parser.parse_args(argv)
    lines = [line for line in args.text.read_text(encoding="utf-8").splitlines() if 6 <= len(line.split()) <= 20]
    texts = random.Random(0).sample(lines, min(args.sentences, len(lines)))
    print("layer head  text forward in line")
    for (layer, head), figures in find_heads(mamtra.load(args.model), texts).items():
        print(f"{layer:5} {head:4}", *(f"{figure:5.2f}" for figure in figures))


if __name__ == "__main__":
    main()
