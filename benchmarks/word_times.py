"""How far times of words are from those that speech recognition finds: by the attention of the LM, and by interpolation, of
whole sentences and live.

    python benchmarks/word_times.py --whisper DIR [--sentences 20] [--out docs/results/word_times.json]

The package's plain sentences are spoken with the embedded voice, its voices in turn, and transcribed with the times of their words
(faster-whisper). What is compared is the beginning of every word but the first of a sentence, where the words agree. Interpolation
divides the time of a sentence by the phonemes of its words; the other way places them along the path of the LM's attention through
the text (mamtra.synthesis.coverage.read_by). Live, the same sentence is streamed, and its words are told while it is being spoken
(mamtra.synthesis.live_words), by the path so far or as fast as the sentences before were.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from record import benchmark

from mamtra.evaluate.sentences import read_sentences
from mamtra.evaluate.statistics import difference
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.audio import Audio
from mamtra.synthesis.live_words import WordTimes
from mamtra.synthesis.spans import words_of
from mamtra.synthesis.word_times import Word, phoneme_weights, space_of
from mamtra.tts import load

WAYS = ("attention", "interpolation", "live, attention", "live, pace")
EVERY = 5
"""Sentences between two writings of the result."""


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One sentence after another."""
    from faster_whisper import WhisperModel

    whisper = WhisperModel(str(args.whisper), device="cpu", compute_type="int8", cpu_threads=args.threads)
    tts, sentences = load(runtime="onnx"), read_sentences()
    random.Random(args.seed).shuffle(sentences)
    weight, rows = phoneme_weights(tts.model.text), []
    live = {way: WordTimes(weight, space=space_of(tts.model.text)) for way in WAYS[2:]}
    for number, sentence in enumerate(sentences[: args.sentences]):
        voice = tts.voices[number % len(tts.voices)]
        audio, chunks = tts.say(sentence, voice, seed=number), list(tts.stream(sentence, voice, seed=number))
        found = {
            "attention": tts.words(audio),
            "interpolation": words_of([span._replace(curve=None) for span in audio.spans], weight),
            **{way: told(chunks, times, follow=way == WAYS[2]) for way, times in live.items()},
        }
        heard = [hear(whisper, each) for each in (audio, Audio.joined(chunks))]
        rows.append({"voice": voice, **{way: errors(found[way], heard[way in live]) for way in WAYS}})
        if len(rows) % EVERY == 0 or len(rows) == args.sentences:
            yield {"sentences": len(rows), "seed": args.seed, **figures(rows), "rows": rows}


def told(chunks: Sequence[Audio], times: WordTimes, *, follow: bool) -> list[Word]:
    """Words of a stream as they are told while it is spoken, from its beginning."""
    begun, words = times.seconds, []
    for chunk in chunks:
        words += times.push(chunk.text, chunk.seconds, bool(chunk.finish_reason), chunk.spans if follow else ())
    return [Word(word.text, word.start - begun, word.end - begun) for word in words]


def hear(whisper: Any, audio: Audio) -> list[Word]:
    """Words with the times that speech recognition gives them."""
    sound = soxr.resample(audio.samples, audio.sample_rate, 16000)
    parts, _ = whisper.transcribe(sound, language="en", word_timestamps=True)
    return [Word(word.word, word.start, word.end) for part in parts for word in part.words]


def errors(words: Sequence[Word], heard: Sequence[Word]) -> list[float]:
    """Seconds from the beginning of words to where they are heard, of words but the first that agree."""
    ours, theirs = ([letters(word.text) for word in each] for each in (words, heard))
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    pairs = [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]
    return [round(words[a].start - heard[b].start, 3) for a, b in pairs if a]


def letters(word: str) -> str:
    """What is compared of a word."""
    return "".join(filter(str.isalnum, word.lower()))


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of all words; the difference of the mean distances has an interval over sentences."""
    values = {way: np.array([value for row in rows for value in row[way]]) for way in WAYS}
    by_way = {
        way: {
            "median": float(np.median(abs(found))),
            "mean": float(abs(found).mean()),
            "p90": float(np.percentile(abs(found), 90)),
            "bias": float(np.median(found)),
        }
        for way, found in values.items()
    }
    pairs = {"difference": WAYS[:2], "live_difference": WAYS[2:]}
    return {"words": len(values[WAYS[0]]), **by_way, **{name: _less(rows, *ways) for name, ways in pairs.items()}}


def _less(rows: Sequence[dict[str, Any]], ours: str, theirs: str) -> list[float]:
    """Mean distance by one way less that by another, with the ends of its interval."""
    counts = np.array([len(row[ours]) for row in rows])
    one, other = (np.array([np.abs(row[way]).sum() for row in rows]) for way in (ours, theirs))
    less, (low, high) = difference(other, counts, one, counts)
    return [less, low, high]


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = [
        [way, *(f"{1000 * result[way][name]:.0f}" for name in ("median", "mean", "p90")), f"{1000 * result[way]['bias']:+.0f}"]
        for way in WAYS
    ]  # fmt: skip
    lines = [
        f"Mean distance by attention less that by {other}: {less:+.0f} ms (95 %: {low:+.0f} to {high:+.0f})."
        for other, name in (("interpolation", "difference"), ("the pace, live", "live_difference"))
        for less, low, high in [[1000 * value for value in result[name]]]
    ]
    return page(
        result,
        "# Times of words",
        "Distance in ms between the beginning of a word and where speech recognition (faster-whisper, its own times of words)\n"
        f"hears it, of {result['words']} words in {result['sentences']} plain sentences spoken by the embedded voice.",
        markdown_table(["placed by", "median", "mean", "90 % are within", "median with its sign"], rows),
        *lines,
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--whisper", type=Path, help="directory of a faster-whisper model")
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)


if __name__ == "__main__":
    benchmark("word_times", __doc__, measure, render, options, None)
